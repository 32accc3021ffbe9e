"""Kill training runs at random moments, go on with them, and compare what they come to.

    python scripts/interrupt_runs.py FOLDER --chains 30 --kills 200 --seed 1

A chain is one run: SIGKILL, SIGTERM or SIGINT comes to its process, or to that and its loader
processes, at a random moment; then it goes on, until it ends by itself. What it leaves then has to
be what a run leaves that nobody interrupted. The same command again goes on where it was; what
became of each chain is in FOLDER/chains.jsonl.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

# Everything that a run imports, so that a process that is forked begins at once.
import fcos_lightning.cli.app
import fcos_lightning.cli.sweep
import fcos_lightning.runs.session
import fcos_lightning.training.callbacks.ema
import fcos_lightning.training.callbacks.previews  # noqa: F401
from fcos_lightning.cli import train
from interrupting.compare import differences

#: A run of thirty steps; weights, their average, figures and pictures are kept.
RUN = (
    *("data=shapes", "data.train_images=40", "data.val_images=16", "data.image_px=64"),
    *("data.shorter_side=64", "data.longer_side=64", "data.batch_size=4"),
    *("model=tiny", "model.backbone.widths=[8,16,16,16]", "model.fpn.channels=32"),
    *("model.head.num_convs=1", "schedule=quick", "callbacks=ema", "callbacks.progress=null"),
    *("callbacks.previews.images=2", "data.eval_batch_size=2", "trainer.log_every_n_steps=1"),
    *("trainer.accelerator=cpu", "report=false"),
)
#: How a run measures, reads and ends.
KINDS: dict[str, tuple[str, ...]] = {
    "epochs": ("schedule.max_epochs=3", "checkpoint.every_n_steps=3"),
    "loader processes": (
        *("schedule.max_epochs=3", "data.num_workers=2"),
        "checkpoint.every_n_steps=2",
    ),
    "accumulated": (
        *("schedule.max_epochs=3", "trainer.accumulate_grad_batches=2"),
        "checkpoint.every_n_steps=1",
    ),
    "half epochs": (
        *("schedule.max_epochs=3", "trainer.val_check_interval=0.5"),
        "checkpoint.every_n_steps=1",
    ),
    "so many steps": (
        *("schedule.max_epochs=null", "schedule.max_steps=30"),
        "checkpoint.every_n_steps=4",
    ),
    "ends within an epoch": (
        *("schedule.max_epochs=null", "schedule.max_steps=25"),
        "checkpoint.every_n_steps=4",
    ),
}
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)


def start(words: Sequence[str], log: Path) -> int:
    """Run ``fcos-train`` in a forked process of a session of its own; return its number."""
    process = os.fork()
    if process:
        return process
    os.setsid()
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = ["fcos-train", *words]
    code = 70
    try:
        train.main()
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
    except BaseException:
        import traceback

        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    import multiprocessing.util as processes

    processes._exit_function()  # type: ignore[attr-defined]  # what Python does at its end
    os._exit(code & 255)


def wait(process: int, seconds: float) -> int | None:
    """Return the status of a process; None: it still runs after so long."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    return None


def chain(folder: Path, kind: str, length: float, chance: random.Random, most: int) -> list[str]:
    """Kill a run up to so many times, and let it end.

    Args:
        folder: of the run, new.
        kind: of ``KINDS``.
        length: seconds that such a run takes.
        chance: decides when and how.
        most: kills.

    Returns:
        The kills, and faults after ``!!``.
    """
    log, told = folder.with_suffix(".log"), []
    for attempt in range(most + 1):
        begun = (folder / "checkpoints/last.ckpt").is_file()
        words = [f"resume={folder}"] if begun else [*RUN, *KINDS[kind], f"run_dir={folder}"]
        process = start(words, log)
        moment = chance.uniform(0.2, 0.7 * length)
        code = wait(process, moment if attempt < most else 3600.0)
        if code is not None:
            if code:
                told.append(f"!! ended by itself with {code}")
            break
        how, whole = chance.choice(SIGNALS), chance.random() < 0.5
        (os.killpg if whole else os.kill)(process, how)
        code = wait(process, 60.0)
        told.append(f"{how.name} {'to all' if whole else 'to one'} after {moment:.1f} s: {code}")
        if code is None:
            os.killpg(process, signal.SIGKILL)
            wait(process, 60.0)
            told.append("!! did not end")
    if "Traceback" in log.read_text(errors="replace"):
        told.append("!! traceback")
    return told


def _kills(chains: Sequence[Mapping[str, Any]]) -> list[str]:
    return [told for one in chains for told in one["told"] if not told.startswith("!!")]


def main() -> None:
    """Make the chains that are not made yet, and count."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--chains", type=int, default=30)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(1)
    folder = given.folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    results = folder / "chains.jsonl"
    lines = results.read_text().splitlines() if results.is_file() else []
    done = [json.loads(line) for line in lines]
    lengths: dict[str, float] = {}
    most = 2 * (given.kills // given.chains + 1)
    while len(done) < given.chains or len(_kills(done)) < given.kills:
        number = len(done)
        chance = random.Random(f"{given.seed}/{number}")
        kind = list(KINDS)[number % len(KINDS)]
        whole = folder / f"whole {kind}".replace(" ", "_")
        if kind not in lengths:
            began = time.monotonic()
            words = [f"resume={whole}"] if (whole / "metrics.json").is_file() else None
            words = words or [*RUN, *KINDS[kind], f"run_dir={whole}"]
            if wait(start(words, whole.with_suffix(".log")), 3600.0) != 0:
                raise SystemExit(f"{whole.with_suffix('.log')}: says why a run does not end well")
            took = time.monotonic() - began
            lengths[kind] = took if words[0] == RUN[0] else 10.0
        cut = folder / f"chain_{number}_{os.getpid()}"
        told = chain(cut, kind, lengths[kind], chance, most)
        found = differences(whole, cut)
        done.append({"chain": number, "kind": kind, "told": told, "differences": found})
        with results.open("a") as file:
            file.write(json.dumps(done[-1]) + "\n")
        kills, came_to = len(_kills(done[-1:])), found or "same"
        print(f"chain {number}, {kind}: {kills} kills, {came_to}", flush=True)
    faults = [told for one in done for told in one["told"] if told.startswith("!!")]
    different = sum(bool(one["differences"]) for one in done)
    total = f"{len(done)} chains, {len(_kills(done))} kills"
    print(f"{total}: {different} differ, {len(faults)} faults {faults}")
    raise SystemExit(bool(different or faults))


if __name__ == "__main__":
    main()
