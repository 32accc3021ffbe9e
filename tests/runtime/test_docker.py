"""``runtime/docker/Dockerfile``, as far as it can be judged without Docker."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from packaging.specifiers import SpecifierSet

from fcos_lightning.runs.config.composed import config_dir

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "runtime/docker/Dockerfile").read_text(encoding="utf-8")
STEPS = re.findall(r"^([A-Z]+) (.*)$", TEXT, re.MULTILINE)
PROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def of(kind: str) -> list[str]:
    return [rest for name, rest in STEPS if name == kind]


def test_what_the_wheel_is_built_of_is_copied() -> None:
    sources = {name for line in of("COPY") for name in line.split()[:-1]}
    assert all((ROOT / name).exists() for name in sources)
    assert {"pyproject.toml", "src", "conf", "README.md", "LICENSE"} == sources


def test_its_python_is_one_of_ours_and_its_extra_is_there() -> None:
    (image,) = of("FROM")
    found = re.fullmatch(r"python:(3\.\d+)-slim", image)
    wanted = re.search(r'requires-python = "(.*)"', PROJECT)
    assert found is not None and wanted is not None and found[1] in SpecifierSet(wanted[1])
    assert "/source[serve]" in of("RUN")[0] and re.search(r"^serve = \[", PROJECT, re.MULTILINE)


def test_what_it_starts_is_a_command_of_ours() -> None:
    (line,) = of("ENTRYPOINT")
    name, *words = json.loads(line)
    assert re.search(rf"^{name} = ", PROJECT, re.MULTILINE)
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        config = compose(name.removeprefix("fcos-"), words)
    assert config.host == "0.0.0.0" and of("EXPOSE") == [str(config.port)]
    assert [user for user in of("USER") if user != "root"] == of("USER") != []


def test_its_health_is_asked_for_by_a_program() -> None:
    (line,) = of("HEALTHCHECK")
    program = json.loads(line[line.index("[") :])
    assert program[:2] == ["python", "-c"] and ":8000/healthz" in program[2]
    compile(program[2], "healthcheck", "exec")


@pytest.mark.parametrize("word", ["ADD", "http:", "https://"])
def test_it_fetches_nothing_of_its_own(word: str) -> None:
    assert word not in TEXT.replace("http://127.0.0.1", "")
