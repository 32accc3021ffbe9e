#!/usr/bin/env python
"""Go on with damaged run folders by the hundred: python scripts/fuzz_runs.py config 300 1.

A run folder is made, stopped in its middle, and copied for each case; then its ``config.yaml``
(``config``) or its ``last.ckpt`` (``checkpoint``) is changed at random places, and `fcos-train
resume=` is called on it in a process of its own. It has to go on, or to be refused by one line that
can be printed, with status 2, and to write nothing beside its folder. Status 1 if any did worse.
The same count and seed make the same cases.
"""

from __future__ import annotations

import argparse
import copy
import io
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import yaml

import fcos_lightning.runs.session  # noqa: F401  # once, not in the process of each case
from fcos_lightning.errors import MESSAGE_CHARACTERS

#: Longer than this no folder of this size takes, in seconds.
LONG_S = 120
BEGUN = (
    *("experiment=quickstart", "data.train_images=8", "data.val_images=4", "data.image_px=64"),
    *("data.shorter_side=64", "data.longer_side=64", "data.batch_size=4", "data.num_workers=0"),
    *("model.fpn.channels=16", "model.head.num_convs=1", "callbacks.progress=null"),
    *("callbacks.previews=null", "trainer.accelerator=cpu", "schedule.max_epochs=2"),
    *("checkpoint.every_n_steps=1", "trusted_packages=[stopper]"),
    "+callbacks.stop._target_=stopper.StopAtThird",
)
STOPPER = """
import os
import lightning as L

class StopAtThird(L.Callback):
    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        if trainer.global_step == 3:
            os._exit(9)
"""
#: What takes the place of a value of either file.
ODD: tuple[Any, ...] = (
    *(None, True, False, 0, 2, 5, -1, -0.5, 0.5, 1e308, float("nan"), float("inf")),
    *(10**12, 10**30, "", "x", "auto", "???", "${oc.env:HOME}", "\x1b[31m", "/etc/passwd"),
    *("../../x", "a" * 200_000, [], [1], ["x"], [[1, 2], [3]], {}, {"a": 1}),
    *({"_target_": "os.system"}, {"_target_": 5}),
)
ODD_TENSORS: tuple[Any, ...] = (
    *(torch.zeros(()), torch.ones(3), torch.zeros(2, 2), torch.zeros(0)),
    *(torch.tensor(float("nan")), torch.zeros(4).to_sparse()),
    *(torch.zeros(3, dtype=torch.complex64), b"x", (1,), {1: 2}),
)

Place = tuple[Any, ...]
Case = Callable[[random.Random, Path], str]


@dataclass
class Report:
    """What became of the cases.

    Attributes:
        went_on: how many runs went on.
        refused: how many were refused in one line.
        faults: what was done to the others, and what came of it.
    """

    went_on: int = 0
    refused: int = 0
    faults: list[tuple[str, str]] = field(default_factory=list)


def begun(folder: Path) -> Path:
    """Make a run folder that can go on."""
    (folder / "stopper.py").write_text(STOPPER)
    subprocess.run(
        [sys.executable, "-m", "fcos_lightning", "train", *BEGUN, "run_dir=begun"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        check=False,
        timeout=300,
    )
    file = folder / "begun" / "config.yaml"
    tree = yaml.safe_load(file.read_text(encoding="utf-8"))
    del tree["callbacks"]["stop"]
    file.write_text(yaml.safe_dump(tree, sort_keys=False), encoding="utf-8")
    return folder / "begun"


def other_config(chance: random.Random, run: Path) -> str:
    """Change one or two places of a configuration; return which."""
    file = run / "config.yaml"
    tree = yaml.safe_load(file.read_text(encoding="utf-8"))
    done = [
        _change(chance, tree, list(_places(tree)), ODD) for _ in range(chance.choice([1, 1, 2]))
    ]
    file.write_text(yaml.safe_dump(tree), encoding="utf-8")
    return "; ".join(done)


def other_checkpoint(chance: random.Random, run: Path) -> str:
    """Change one or two places of a checkpoint, beside those of its detector; return which."""
    file = run / "checkpoints" / "last.ckpt"
    tree = copy.deepcopy(torch.load(file, weights_only=True))
    done = []
    for _ in range(chance.choice([1, 1, 2])):
        top = chance.choice(sorted(tree)) if isinstance(tree, dict) and tree else None
        places = [place for place in _places(tree) if place[0] == top]
        done.append(_change(chance, tree, places, ODD + ODD_TENSORS))
    content = io.BytesIO()
    torch.save(tree, content)
    file.write_bytes(content.getvalue())
    return "; ".join(done)


def _places(tree: Any, place: Place = ()) -> Iterator[Place]:  # noqa: ANN401  # a plain tree
    inside: Any = tree.items() if isinstance(tree, dict) else ()
    if isinstance(tree, list):
        inside = enumerate(tree)
    for key, value in inside:
        yield (*place, key)
        yield from _places(value, (*place, key))


def _change(chance: random.Random, tree: Any, places: list[Place], odd: tuple[Any, ...]) -> str:  # noqa: ANN401
    if not places:
        return "nothing"
    place = chance.choice(places)
    inside = tree
    for key in place[:-1]:
        inside = inside[key]
    if chance.random() < 0.2:
        del inside[place[-1]]
        return f"without {place}"
    inside[place[-1]] = chance.choice(odd)
    return f"{place} = {repr(inside[place[-1]])[:40]}"


def gone_on(run: Path, patience_s: float = LONG_S) -> tuple[int, str]:
    """Go on with a run in a process of its own; return its status, or -1, and what it said."""
    said = run.parent / "said.txt"
    child = os.fork()
    if child == 0:
        _resume(run, said)
    until = time.monotonic() + patience_s
    while time.monotonic() < until:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status), said.read_text(errors="replace")
        time.sleep(0.02)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return -1, f"took more than {patience_s:.0f} s"


def _resume(run: Path, said: Path) -> None:
    os.setsid()
    os.chdir(run.parent)
    code = 99
    try:
        with said.open("w") as errors:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os.dup2(errors.fileno(), 2)
            sys.stdout = os.fdopen(1, "w", closefd=False)
            sys.stderr = os.fdopen(2, "w", closefd=False)
            sys.argv = ["fcos-train", f"resume={run}"]
            torch.set_num_threads(1)
            from fcos_lightning.cli import train

            try:
                train.main()
                code = 0
            except SystemExit as stop:
                code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
            except BaseException:
                traceback.print_exc()
            sys.stderr.flush()
    finally:
        os._exit(code)


def wrong(status: int, said: str) -> str | None:
    """Say what is wrong with the end of a command; None: it is as it should be."""
    lines = [line for line in said.splitlines() if line.startswith("error: ")]
    if status == 0:
        return None
    if status != 2 or "Traceback" in said or len(lines) != 1:
        return f"status {status}: {said.strip().splitlines()[-1:]}"
    if not lines[0].isprintable() or len(lines[0]) > MESSAGE_CHARACTERS + 100:
        return f"no line to print: {lines[0][:200]!r}"
    return None


def fuzz(folder: Path, change: Case, count: int, seed: int, base: Path | None = None) -> Report:
    """Try so many cases.

    Args:
        folder: for the runs.
        change: damages a run folder.
        count: number of cases.
        seed: of the damage.
        base: the run folder that is copied; None: one is made.
    """
    base = base or begun(folder)
    place = folder / "place"
    report = Report()
    for number in range(count):
        shutil.rmtree(place, ignore_errors=True)
        run = Path(shutil.copytree(base, place / "run"))
        done = change(random.Random(f"{seed}/{number}"), run)
        status, said = gone_on(run)
        fault = wrong(status, said)
        beside = sorted({path.name for path in place.iterdir()} - {"run", "said.txt"})
        if beside:
            fault = f"wrote {beside}"
        if fault is not None:
            report.faults.append((done, fault))
        elif status:
            report.refused += 1
        else:
            report.went_on += 1
    return report


CASES: dict[str, Case] = {"config": other_config, "checkpoint": other_checkpoint}


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=CASES)
    parser.add_argument("count", type=int)
    parser.add_argument("seed", type=int)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fuzz-runs-") as folder:
        report = fuzz(Path(folder), CASES[given.what], given.count, given.seed)
    for done, fault in report.faults:
        print(f"{done}: {fault}")
    print(
        f"{given.what}: {given.count} cases, {report.went_on} went on, {report.refused} refused, "
        f"{len(report.faults)} faults (seed {given.seed})"
    )
    return 1 if report.faults else 0


if __name__ == "__main__":
    raise SystemExit(main())
