"""What README.md shows: its commands compose, its program runs, its links lead somewhere."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from PIL import Image

from fcos_lightning import load_detector
from fcos_lightning.cli import sweep
from fcos_lightning.data.images import read_image
from fcos_lightning.data.resizing import planes, resized
from fcos_lightning.runs.config.composed import config_dir

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
# Only from blocks of commands: the running text has commands cut short by dots.
BLOCKS = "\n".join(re.findall(r"^```sh\n(.*?)^```$", README, re.MULTILINE | re.DOTALL))
COMMANDS = re.findall(r"^fcos-(train|test|report|predict|doctor) (.+)$", BLOCKS, re.MULTILINE)


def test_each_command_is_shown() -> None:
    assert {name for name, _ in COMMANDS} == {"train", "test", "report", "predict", "doctor"}


@pytest.mark.parametrize(("name", "line"), COMMANDS)
def test_commands_compose(name: str, line: str) -> None:
    words = shlex.split(line, comments=True)
    own = [word for word in words if word.startswith(("sweep=", "sweep."))]
    if own:
        sweep._settings(own)
    overrides = [word for word in words if word != "-m" and word not in own]
    swept = [word.split(",")[0] for word in overrides]  # of a sweep, the first
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        config = compose(name, swept)
    for word in swept:
        key, value = word.split("=", 1)
        if not (config_dir() / key).is_dir():
            found = config
            for part in key.split("."):
                found = found[part]
            assert str(found) == value


@pytest.mark.parametrize(
    "choice",
    re.findall(r"`((?:schedule|augment|callbacks|logger|trainer\.precision)=\S+?)`", README),
)
def test_choices_in_the_text_compose(choice: str) -> None:
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        compose("train", [choice])


def test_the_program_finds_what_the_command_means(
    folder_of_a_user: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (program,) = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    exec(compile(program, "README.md", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5
    assert all(re.match(r"(cat|dog) [\d.]+ \[.+\]$", line) for line in lines), lines
    # Shrunk to half, as the checkpoint says, and mapped back.
    seen = planes(resized(read_image(folder_of_a_user / "photo.jpg"), 0.5))
    (found,) = load_detector("best.ckpt").detect([torch.from_numpy(seen)])
    boxes = [json.loads(line[line.index("[") :]) for line in lines]
    np.testing.assert_allclose(boxes, 2 * found.boxes_xyxy.numpy(), atol=0.01)
    assert Image.open("drawn.jpg").size == (192, 128)


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_what_documents_point_to_exists(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    linked = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    named = re.findall(r"^\| `((?:conf|src|scripts|tests)/[^`]*)`", text, re.MULTILINE)
    run = re.findall(r"^python (\S+\.py)", text, re.MULTILINE)
    assert document == "CHANGELOG.md" or (linked or named)
    for name in [*linked, *named, *run]:
        assert (ROOT / name).exists(), name


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a checkout")
def test_nothing_large_is_committed() -> None:
    """What .pre-commit-config.yaml asks of each commit, for those made without it."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    large = [path.name for path in paths if path.is_file() and path.stat().st_size > 500 * 1024]
    assert not large
