"""Runs jobs as processes of their own: here, or through SLURM."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from fcos_lightning.errors import UserError
from fcos_lightning.extras import pip_install
from fcos_lightning.processors import processor_count

#: How long a job may take to keep a checkpoint before it is killed.
PATIENCE_S = 60.0


class Handle(Protocol):
    """A job that was started."""

    def exit_code(self) -> int | None:
        """Return how it ended, or None while it runs."""

    def stop(self) -> None:
        """Ask it to keep a checkpoint and end."""

    def kill(self) -> None:
        """End it now."""


class Launcher(Protocol):
    """Where jobs run."""

    def start(self, command: Sequence[str], log: Path, slot: int) -> Handle:
        """Start a command; what it prints is appended to ``log``."""


@dataclass
class _Process:
    process: subprocess.Popen[bytes]

    def exit_code(self) -> int | None:
        return self.process.poll()

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        # A session of its own: its ranks and loader processes end with it.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@dataclass
class LocalLauncher:
    """Starts jobs on this machine.

    Attributes:
        parallel: how many run at a time; they share GPUs and processors evenly.
        lock_fd: a descriptor that jobs keep open.
    """

    parallel: int
    lock_fd: int
    gpus: list[str] = field(default_factory=lambda: visible_gpus())

    def start(self, command: Sequence[str], log: Path, slot: int) -> Handle:
        """Start a command in a session of its own, so that Ctrl-C reaches the sweep alone."""
        with log.open("ab") as file:
            process = subprocess.Popen(
                command,
                stdout=file,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=self._environment(slot),
                start_new_session=True,
                pass_fds=(self.lock_fd,),
            )
        return _Process(process)

    def _environment(self, slot: int) -> dict[str, str]:
        environment = {k: v for k, v in os.environ.items() if k != "FCOS_RUN_DIR"}
        if self.parallel == 1:
            return environment
        if self.gpus:
            # At least one each: with more jobs than GPUs some are shared.
            each = max(len(self.gpus) // self.parallel, 1)
            first = slot * each % len(self.gpus)
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(self.gpus[first : first + each])
        # Threads of several jobs on the same processors wait for each other.
        threads = max(processor_count() // self.parallel, 1)
        environment.setdefault("OMP_NUM_THREADS", str(threads))
        return environment


@dataclass
class SubmititLauncher:
    """Submits jobs by submitit, to SLURM or, to try that out, to processes of this machine.

    Attributes:
        folder: for submitit's own files.
        cluster: ``slurm`` or ``local``.
        parameters: of ``executor.update_parameters``.
    """

    folder: Path
    cluster: str
    parameters: Mapping[str, Any]

    def __post_init__(self) -> None:
        try:
            import submitit
        except ModuleNotFoundError:
            raise UserError(f"sweep.launcher: needs submitit; {pip_install('sweep')}") from None
        if self.cluster == "slurm" and shutil.which("sbatch") is None:
            raise UserError(
                "sweep.launcher=slurm: there is no sbatch here; run this on a machine from which "
                "SLURM jobs are submitted, or leave sweep.launcher=local"
            )
        # A folder of its own for each start: submitit unpickles the results that it finds there.
        self.folder.mkdir(parents=True, exist_ok=True)
        fresh = tempfile.mkdtemp(prefix="start-", dir=self.folder)
        executor = submitit.AutoExecutor(folder=fresh, cluster=self.cluster)
        try:
            executor.update_parameters(**self.parameters)
        except (NameError, TypeError) as error:
            raise UserError(f"sweep.slurm: {error}") from error
        self._executor = executor

    def start(self, command: Sequence[str], log: Path, slot: int) -> Handle:
        """Submit a command."""
        return _Submitted(self._executor.submit(run_command, list(command), str(log)))


@dataclass
class _Submitted:
    job: Any  # submitit.Job

    def exit_code(self) -> int | None:
        if not self.job.done():
            return None
        try:
            return int(self.job.result())
        except Exception:  # whatever ended it: a crash, the scheduler, a lost node
            return 1

    def stop(self) -> None:
        if hasattr(self.job, "_process"):  # submitit's local executor has no gentler way
            self.job._process.send_signal(signal.SIGTERM)
        else:
            subprocess.run(
                ["scancel", "--signal=TERM", "--full", str(self.job.job_id)], check=False
            )

    def kill(self) -> None:
        self.job.cancel()


def run_command(command: Sequence[str], log: str) -> int:
    """Run a command inside a submitted job, passing signals on; what it prints goes to ``log``."""
    with open(log, "ab") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
        for name in (signal.SIGTERM, signal.SIGUSR1):
            signal.signal(name, lambda signum, frame: process.send_signal(signum))
        return process.wait()


def train_command(words: Sequence[str]) -> list[str]:
    """Return the command of one run, without any trace of the sweep."""
    return [sys.executable, "-m", "fcos_lightning.cli.train", *words]


def visible_gpus() -> list[str]:
    """Return the GPUs this process may use, without the seconds that importing torch takes."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [gpu for gpu in chosen.split(",") if gpu and gpu != "-1"]
    if shutil.which("nvidia-smi") is None:
        return []
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    found = [line for line in listed.stdout.splitlines() if line.startswith("GPU ")]
    return [str(index) for index in range(len(found))]


def wait_for(handles: Sequence[Handle], patience_s: float = PATIENCE_S) -> None:
    """Wait until jobs that were asked to stop have ended; kill those that do not."""
    until = time.monotonic() + patience_s
    while time.monotonic() < until and any(handle.exit_code() is None for handle in handles):
        time.sleep(0.1)
    for handle in handles:
        if handle.exit_code() is None:
            handle.kill()
