"""Runs the jobs, some at a time; it may be killed at any moment, and then goes on."""

from __future__ import annotations

import ctypes
import json
import os
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

import torch

from fcos_lightning.storage.folders import hold
from fcos_lightning.storage.replacing import copy_whole, write_whole
from fcos_lightning.storage.run_folder import RunFolder
from fcos_lightning.sweeps.course import can_go_on
from recipe.jobs import CURVE, SPACE, Job, Plan, figures_of_curve, figures_of_run, figures_of_search
from recipe.table import table

_PEER = Path(__file__).with_name("peer.py")
_MOST_ATTEMPTS = 2  # of a job that ends by itself in an error
_LOOK_S = 0.2
_PATIENCE_S = 120.0  # for a job that was asked to end
_DEATH_OF_PARENT = 1  # PR_SET_PDEATHSIG of Linux

Figures = Callable[[Path], dict[str, Any]]  # of a run's folder


@dataclass
class _Running:
    """A job that was started.

    Attributes:
        job: what it is.
        folder: of its run.
        process: that works on it.
        figures: reads what it came to.
        began: on the monotonic clock.
    """

    job: Job
    folder: Path
    process: subprocess.Popen[bytes]
    figures: Figures
    began: float = field(default_factory=time.monotonic)

    def ended(self) -> tuple[int, float] | None:
        """Return its status and the seconds of a processor that it took, or None while it runs."""
        child, status, used = os.wait4(self.process.pid, os.WNOHANG)
        if child == 0:
            return None
        self.process.returncode = os.waitstatus_to_exitcode(status)
        return self.process.returncode, used.ru_utime + used.ru_stime


@dataclass
class Driver:
    """Runs a plan below one folder.

    Attributes:
        folder: holds ``runs/``, ``results/``, one file for each finished job, and ``table.md``.
        plan: the jobs.
        weights: of the backbone.
        epochs: of each run.
        trials: of each search.
        parallel: how many jobs run at a time; with a GPU, more than it has processors to spare
            waits in vain.
        precision: of our runs; the peer's are always of 32 bits, at which its authors train.
        minutes: after which the machine is gone, if it is lent: no job begins then that takes as
            long as the longest of its kind did and would not be done.
    """

    folder: Path
    plan: Plan
    weights: Path
    epochs: int = 12
    trials: int = 8
    parallel: int = 1
    precision: str = "32-true"
    minutes: float = float("inf")
    _began: float = field(default_factory=time.monotonic)
    _longest_s: dict[str, float] = field(default_factory=dict)
    _running: dict[str, _Running] = field(default_factory=dict)
    _stopped: bool = False
    _failed: dict[str, int] = field(default_factory=dict)

    def run(self) -> None:
        """Run what is not finished yet, until nothing is left or a signal comes.

        Raises:
            SystemExit: if another process works on the same.
        """
        try:
            handle = hold(self.folder, wait_s=_PATIENCE_S)
        except BlockingIOError:
            raise SystemExit(
                f"error: another process works in {self.folder}; stop it first"
            ) from None
        for signum in (signal.SIGINT, signal.SIGTERM):
            signal.signal(signum, self._stop)
        while True:
            while not self._stopped and len(self._running) < self.parallel:
                job = self._next()
                if job is None:
                    break
                self._start(job, () if handle is None else (handle,))
            if not self._running:
                break
            self._wait()
        if handle is not None:
            os.close(handle)

    def results(self) -> dict[str, dict[str, Any]]:
        """Return what finished jobs came to, by their names."""
        files = sorted((self.folder / "results").glob("*.json"))
        return {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in files}

    def _next(self) -> Job | None:
        results = self.results()
        jobs = list(self.plan.jobs(results))
        # On a GPU what takes longest comes first, or all the others wait for it at the end.
        if self.parallel > 1 and torch.cuda.is_available():
            jobs.sort(key=lambda job: job.kind != "search")
        for job in jobs:
            todo = job.name not in results and job.name not in self._running
            if todo and self._failed.get(job.name, 0) < _MOST_ATTEMPTS and self._can_begin(job):
                return job
        return None

    def _can_begin(self, job: Job) -> bool:
        """Tell whether the checkpoint is there that a job starts from, if it does, and the time."""
        needs = any(word.startswith("init_from=") for word in job.extra[1])
        left_s = 60 * self.minutes - (time.monotonic() - self._began)
        enough = left_s > self._longest_s.get(job.kind, 0.0)
        return enough and (not needs or self.plan.pretrained.is_file())

    def _start(self, job: Job, kept_open: Sequence[int]) -> None:
        folder = self.folder / "runs" / job.name
        _say(f"{job.name}: {'goes on' if folder.exists() else 'begins'}")
        folder.parent.mkdir(parents=True, exist_ok=True)
        command, figures = self._command(job, folder)
        with folder.with_name(f"{job.name}.log").open("ab") as log:
            process = subprocess.Popen(
                command,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                pass_fds=tuple(kept_open),
                start_new_session=True,  # Ctrl-C comes to the driver, which asks it to stop
                preexec_fn=_end_with_parent,
            )
        self._running[job.name] = _Running(job, folder, process, figures)
        if self._stopped:  # while it was started
            process.terminate()

    def _wait(self) -> None:
        """Wait until one of the jobs has ended."""
        while True:
            for one in list(self._running.values()):
                ended = one.ended()
                if ended is not None:
                    del self._running[one.job.name]
                    self._finish(one, *ended)
                    write_whole(table(self.plan, self.results()), self.folder / "table.md")
                    return
            time.sleep(_LOOK_S)

    def _finish(self, one: _Running, code: int, used: float) -> None:
        job, folder = one.job, one.folder
        seconds = folder.with_name(f"{job.name}.seconds")  # of this and earlier attempts
        taken = used + (float(seconds.read_text()) if seconds.is_file() else 0.0)
        write_whole(f"{taken:.0f}\n", seconds)
        if self._stopped:
            return
        attempts = self._failed.get(job.name, 0) + (code != 0)
        self._failed[job.name] = attempts
        if code != 0 and not (job.kind == "search" and attempts >= _MOST_ATTEMPTS):
            _say(f"{job.name}: ended with {code}, see {folder.with_name(job.name)}.log")
            return
        took_s = time.monotonic() - one.began
        self._longest_s[job.kind] = max(took_s, self._longest_s.get(job.kind, 0.0))
        result = one.figures(folder) | {
            "set": job.place.name,
            "method": job.method,
            "seed": job.seed,
            "extra": job.extra[0],
            "minutes": round(taken / 60, 1),
        }
        if job.kind == "ours":
            result |= {"lr": job.setting.lr, "batch": job.setting.batch}
        write_whole(json.dumps(result, indent=1) + "\n", self.folder / f"results/{job.name}.json")
        if job.keeps:
            copy_whole(RunFolder(folder).best, self.plan.pretrained)
        for weights in [*folder.rglob("*.ckpt"), *folder.rglob("*.pth")]:
            weights.unlink()  # a hundred runs are gigabytes
        _say(f"{job.name}: AP {result['AP']:.3f} in {result['minutes']} min")

    def _command(
        self, job: Job, folder: Path
    ) -> tuple[list[str], Callable[[Path], dict[str, Any]]]:
        """Return what runs a job, and what reads its figures."""
        # Of many at a time, none may take all processors for its loaders.
        alone = ["data.num_workers=1"] if self.parallel > 1 else []
        if job.kind == "peer":
            words = ["--words", *job.place.words, *alone, "--weights", str(self.weights)]
            words += ["--epochs", str(self.epochs), "--seed", str(job.seed)]
            return [sys.executable, str(_PEER), str(folder), *words], _figures_of_peer
        words = [*job.words(self.weights, self.epochs), *alone]
        words.append(f"trainer.precision={self.precision}")
        if any(word.startswith("init_from=") for word in words):  # whose net and method are taken
            words = [word for word in words if not word.startswith(("model.", "method="))]
        train = [sys.executable, "-m", "fcos_lightning.cli.train"]
        if job.kind == "curve":
            swept = [
                word for word in words if word.split("=")[0] not in {w.split("=")[0] for w in CURVE}
            ]
            return [*train, "-m", *swept, *CURVE, f"sweep.dir={folder}"], figures_of_curve
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
        if self._running:
            _say("stopping; jobs that run keep a checkpoint first")
        for one in list(self._running.values()):
            one.process.terminate()


def _figures_of_peer(folder: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((folder / "figures.json").read_text(encoding="utf-8"))
    return read


def _end_with_parent() -> None:
    """Let a child be asked to end when the driver is killed; only Linux has that."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DEATH_OF_PARENT, signal.SIGTERM)


def _say(line: str) -> None:
    print(f"{time.strftime('%m-%d %H:%M')} {line}", flush=True)
