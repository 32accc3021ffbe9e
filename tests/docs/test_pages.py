"""What the pages on sweeps and on several devices show: their commands compose."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from fcos_lightning.cli import sweep
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
            sweep.compose("train", [*space.fixed, *job])
    else:
        assert space.distributions()


@pytest.mark.parametrize("line", commands("distributed.md"))
def test_commands_compose(line: str) -> None:
    words = shlex.split(line.replace("$RUN", "run"), comments=True)
    sweep.compose("train", words)
