"""What the pages show: their commands compose, and the program that predicts runs."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from fcos_lightning.cli import sweep
from fcos_lightning.runs.config.composed import compose
from fcos_lightning.sweeps.settings import with_base
from fcos_lightning.sweeps.space import parse_space

DOCS = Path(__file__).resolve().parents[2] / "docs"


def commands(page: str) -> list[str]:
    """The fcos-train commands of a page's blocks, continued lines joined."""
    text = (DOCS / page).read_text(encoding="utf-8")
    blocks = "\n".join(re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))
    joined = re.sub(r"\\\n\s*", " ", blocks)
    return re.findall(r"fcos-train +(.+)$", joined, re.MULTILINE)


@pytest.mark.parametrize("line", commands("sweeps.md"))
def test_sweeps_compose(line: str) -> None:
    words = [word for word in shlex.split(line, comments=True) if word != "-m"]
    own = [word for word in words if word.startswith(("sweep=", "sweep."))]
    settings = sweep._settings(own)
    space = parse_space([word for word in words if word not in own], settings["params"])
    if settings["search"] == "grid":
        for job in space.grid():
            compose("train", [*space.fixed, *job])
    else:
        assert space.distributions()


@pytest.mark.parametrize("line", commands("claims.md"))
def test_sweeps_of_cases_compose(line: str) -> None:
    words = [word for word in shlex.split(line, comments=True) if word != "-m"]
    own = [word for word in words if word.startswith(("sweep=", "sweep."))]
    settings = sweep._settings(own)
    rest = with_base([word for word in words if word not in own], settings)
    space = parse_space(rest, settings["params"], settings["cases"])
    jobs = space.grid()
    assert len(jobs) == 42  # as the page says
    for job in (jobs[0], jobs[3]):  # of one word and of two
        compose("train", [*space.fixed, *job])


@pytest.mark.parametrize(
    "line",
    [
        *(*commands("distributed.md"), *commands("methods.md")),
        *(*commands("finetuning.md"), *commands("augmentation.md")),
    ],
)
def test_commands_compose(line: str) -> None:
    words = shlex.split(line.replace("$RUN", "run"), comments=True)
    compose("train", words)


def test_the_program_on_deployment_runs(
    folder_of_a_user: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (DOCS / "deployment.md").read_text(encoding="utf-8")
    program = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)[0]
    exec(compile(program, "deployment.md", "exec"), {})
    printed = capsys.readouterr().out
    assert printed.count("'cat'") + printed.count("'dog'") == 10  # 5 of each image
