"""Runs the jobs one after the other; it may be killed at any moment, and then goes on."""

from __future__ import annotations

import ctypes
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from fcos_lightning.storage.folders import hold
from fcos_lightning.storage.replacing import write_whole
from fcos_lightning.sweeps.course import can_go_on
from recipe.jobs import SPACE, Job, Plan, figures_of_run, figures_of_search
from recipe.table import table

_PEER = Path(__file__).with_name("peer.py")
_MOST_ATTEMPTS = 2  # of a job that ends by itself in an error
_PATIENCE_S = 120.0  # for a job that was asked to end
_DEATH_OF_PARENT = 1  # PR_SET_PDEATHSIG of Linux

Figures = Callable[[Path], dict[str, Any]]  # of a run's folder


@dataclass
class Driver:
    """Runs a plan below one folder.

    Attributes:
        folder: holds ``runs/``, ``results/``, one file for each finished job, and ``table.md``.
        plan: the jobs.
        weights: of the backbone.
        epochs: of each run.
        trials: of each search.
    """

    folder: Path
    plan: Plan
    weights: Path
    epochs: int = 12
    trials: int = 8
    _child: subprocess.Popen[bytes] | None = None
    _stopped: bool = False
    _failed: dict[str, int] = field(default_factory=dict)

    def run(self) -> None:
        """Run what is not finished yet, until nothing is left or a signal comes."""
        handle = hold(self.folder, wait_s=_PATIENCE_S)
        for signum in (signal.SIGINT, signal.SIGTERM):
            signal.signal(signum, self._stop)
        while not self._stopped:
            results = self.results()
            job = next(
                (
                    one
                    for one in self.plan.jobs(results)
                    if one.name not in results and self._failed.get(one.name, 0) < _MOST_ATTEMPTS
                ),
                None,
            )
            if job is None:
                break
            self._run(job, () if handle is None else (handle,))
            write_whole(table(self.plan, self.results()), self.folder / "table.md")
        if handle is not None:
            os.close(handle)

    def results(self) -> dict[str, dict[str, Any]]:
        """Return what finished jobs came to, by their names."""
        files = sorted((self.folder / "results").glob("*.json"))
        return {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in files}

    def _run(self, job: Job, kept_open: Sequence[int]) -> None:
        folder = self.folder / "runs" / job.name
        seconds = folder.with_name(f"{job.name}.seconds")  # of earlier attempts
        before = float(seconds.read_text()) if seconds.is_file() else 0.0
        _say(f"{job.name}: {'goes on' if folder.exists() else 'begins'}")
        folder.parent.mkdir(parents=True, exist_ok=True)
        command, figures = self._command(job, folder)
        used = _used_by_children()
        with folder.with_name(f"{job.name}.log").open("ab") as log:
            self._child = subprocess.Popen(
                command,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                pass_fds=tuple(kept_open),
                start_new_session=True,  # Ctrl-C comes to the driver, which asks it to stop
                preexec_fn=_end_with_parent,
            )
            if self._stopped:  # while it was started
                self._child.terminate()
            code = self._child.wait()
            self._child = None
        taken = before + _used_by_children() - used
        write_whole(f"{taken:.0f}\n", seconds)
        if self._stopped:
            return
        attempts = self._failed.get(job.name, 0) + (code != 0)
        self._failed[job.name] = attempts
        if code != 0 and not (job.kind == "search" and attempts >= _MOST_ATTEMPTS):
            _say(f"{job.name}: ended with {code}, see {folder.with_name(job.name)}.log")
            return
        result = figures(folder) | {
            "set": job.place.name,
            "method": job.method,
            "seed": job.seed,
            "extra": job.extra[0],
            "minutes": round(taken / 60, 1),
        }
        if job.kind == "ours":
            result |= {"lr": job.setting.lr, "batch": job.setting.batch}
        write_whole(json.dumps(result, indent=1) + "\n", self.folder / f"results/{job.name}.json")
        for weights in [*folder.rglob("*.ckpt"), *folder.rglob("*.pth")]:
            weights.unlink()  # a hundred runs are gigabytes
        _say(f"{job.name}: AP {result['AP']:.3f} in {result['minutes']} min")

    def _command(
        self, job: Job, folder: Path
    ) -> tuple[list[str], Callable[[Path], dict[str, Any]]]:
        """Return what runs a job, and what reads its figures."""
        if job.kind == "peer":
            words = ["--words", *job.place.words, "--weights", str(self.weights)]
            words += ["--epochs", str(self.epochs), "--seed", str(job.seed)]
            return [sys.executable, str(_PEER), str(folder), *words], _figures_of_peer
        words = job.words(self.weights, self.epochs)
        train = [sys.executable, "-m", "fcos_lightning.cli.train"]
        if job.kind == "search":
            search = ("sweep.search=optuna", f"sweep.trials={self.trials}", f"sweep.dir={folder}")
            return [*train, "-m", *words, *SPACE, *search], figures_of_search
        if can_go_on(folder):
            return [*train, f"resume={folder}"], figures_of_run
        if folder.exists():  # begun, and nothing to go on from
            shutil.rmtree(folder)
        given = (f"schedule.lr={job.setting.lr}", f"data.batch_size={job.setting.batch}")
        return [*train, *words, *given, f"run_dir={folder}"], figures_of_run

    def _stop(self, signum: int, frame: FrameType | None) -> None:
        self._stopped = True
        if self._child is not None:
            _say("stopping; the running job keeps a checkpoint first")
            self._child.terminate()


def _figures_of_peer(folder: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((folder / "figures.json").read_text(encoding="utf-8"))
    return read


def _used_by_children() -> float:
    """Return the seconds of a processor that children took, which others do not make longer."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _end_with_parent() -> None:
    """Let a child be asked to end when the driver is killed; only Linux has that."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DEATH_OF_PARENT, signal.SIGTERM)


def _say(line: str) -> None:
    print(f"{time.strftime('%m-%d %H:%M')} {line}", flush=True)
