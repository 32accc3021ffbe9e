"""How long a person waits: for a command's help, and for the first training step.

Everything is a process of its own, timed from outside, after one run that warms the disk's cache.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.measure import Figure, Result, alternate, seconds

TITLE = "start-up"

COMMANDS = ("train", "test", "predict", "convert")
HELP_S = 1.5
FLOOR = "import torch, torchvision, lightning"
SCRIPTS = Path(__file__).resolve().parents[1]


def python(code: str, *arguments: str, folder: Path) -> str:
    """Run code in a process of its own and return what it printed."""
    command = [sys.executable, "-c", code, *arguments]
    paths = [str(SCRIPTS), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{command} failed: {done.stdout}{done.stderr}")
    return done.stdout


def command(name: str, *arguments: str, folder: Path) -> str:
    """Run one of our commands as its script does."""
    code = f"from fcos_lightning.cli.{name} import main; main()"
    return python(code, *arguments, folder=folder)


def show_help(name: str, folder: Path) -> None:
    """Show the help of a command; raise if it is not there."""
    if f"fcos-{name}" not in command(name, "--help", folder=folder):
        raise RuntimeError(f"fcos-{name} --help does not name the command")


def first_step_s(folder: Path) -> float:
    """Return the seconds from the start of the quickstart to the end of its first step."""
    began = time.time()
    with tempfile.TemporaryDirectory(dir=folder) as run_dir:
        printed = command(
            "train",
            "experiment=quickstart",
            "logger=none",
            "trainer.accelerator=cpu",
            f"data.root={folder / 'shapes'}",
            f"run_dir={run_dir}",
            "trusted_packages=[benchmarks]",
            "+callbacks.first_step._target_=benchmarks.first_step.FirstStep",
            folder=folder,
        )
    said = re.search(r"first step: ([\d.]+)", printed)
    if said is None:
        raise RuntimeError(f"no step was done: {printed}")
    return float(said[1]) - began


def run(rounds: int) -> Result:
    """Measure help beside importing lightning, and the first step beside its libraries' import."""
    figures = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ours, peer = alternate(
            lambda: show_help("train", folder),
            lambda: python("import lightning", folder=folder),
            rounds,
        )
        what = "`fcos-train --help`"
        figures.append(Figure(what, "`import lightning`", "s", ours, peer, absolute_target=HELP_S))
        for other in COMMANDS[1:]:
            show_help(other, folder)
            times = [seconds(lambda other=other: show_help(other, folder)) for _ in range(rounds)]
            figures.append(
                Figure(f"`fcos-{other} --help`", "", "s", times, [], absolute_target=HELP_S)
            )
        first_step_s(folder)  # draws the data set
        ours, peer = [], []
        for _ in range(rounds):
            peer.append(seconds(lambda: python(FLOOR, folder=folder)))
            ours.append(first_step_s(folder))
        what = "first step of `experiment=quickstart`, on the processor"
        figures.append(Figure(what, f"`{FLOOR}`", "s", ours, peer))
    note = (
        "The peer of the first step is the import of three libraries that it needs. Beside them "
        "there are albumentations, the configuration, reading the data set, the model, and one "
        "step without a warm-up."
    )
    return Result(figures, [note])
