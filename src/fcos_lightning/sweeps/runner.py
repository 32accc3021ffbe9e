"""Runs the jobs of a sweep until all are finished, or it is told to stop."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fcos_lightning.printing import printable
from fcos_lightning.runs.config.words import quoted
from fcos_lightning.signals import STOPPING, Asked
from fcos_lightning.storage.folders import set_aside
from fcos_lightning.sweeps.course import ap_by_epoch, best_ap, can_go_on, has_begun
from fcos_lightning.sweeps.jobs import Handle, Launcher, train_command, wait_for
from fcos_lightning.sweeps.manifest import Job, Manifest
from fcos_lightning.sweeps.same_error import Alike, SameError
from fcos_lightning.sweeps.search import Search
from fcos_lightning.sweeps.stored_words import said_again

_PAUSE_S = 0.2
_LOOK_S = 5.0  # how often a running job's AP is looked at
_END_BYTES = 20_000  # of a log, in which its error is looked for


class Interrupted(Exception):
    """The sweep was told to stop; its jobs have ended.

    Attributes:
        signum: by which signal.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.signum = signum


@dataclass
class _Running:
    job: Job
    handle: Handle
    slot: int
    began: float
    looked: float
    pruned: bool = False


class Runner:
    """Starts jobs, at most so many at a time, and writes down what became of them.

    Args:
        manifest: of the sweep.
        launcher: where jobs run.
        parallel: how many at a time.
        search: proposes further jobs; None: those of the manifest are all.
        trials: how many jobs a search makes.
        say: prints a line.
        stop_alike: whether to stop once the first jobs all end with the same error.
    """

    def __init__(
        self,
        manifest: Manifest,
        launcher: Launcher,
        parallel: int,
        search: Search | None = None,
        trials: int = 0,
        say: Callable[[str], None] = print,
        stop_alike: bool = True,
    ) -> None:
        self.manifest = manifest
        self.launcher = launcher
        self.parallel = parallel
        self.search = search
        self.trials = trials
        self.say = say
        self.stop_alike = stop_alike
        self._running: list[_Running] = []
        self._left = list(manifest.unfinished)
        self._failures = SameError(max(2, parallel))
        self._signum = 0

    def run(self) -> None:
        """Run every job that is not finished.

        Raises:
            Interrupted: on a signal that asks to stop, when running jobs have kept a checkpoint.
            Alike: if the first jobs ended with the same error, and others were not started for it.
        """
        before = {signum: signal.signal(signum, self._note) for signum in STOPPING}
        try:
            while self._started_some() or self._running:
                self._look_after()
                if self._signum:
                    self._stop_all()
                    raise Interrupted(self._signum)
                time.sleep(_PAUSE_S if self._running else 0)
        except BaseException:
            for running in self._running:
                running.handle.kill()
            raise
        finally:
            for signum, handler in before.items():
                signal.signal(signum, handler)
        if self._signum:
            raise Interrupted(self._signum)
        if self._more():
            raise Alike(len(self._failures.jobs), self._failures.reason)

    def _note(self, signum: int, frame: object) -> None:
        if self._signum:  # twice: at once
            raise Asked(signum)
        self._signum = signum

    def _started_some(self) -> bool:
        """Start jobs while there is room for them; tell whether any was started."""
        some = False
        while len(self._running) < self.parallel and not self._signum and not self._hopeless():
            job = self._next()
            if job is None:
                break
            self._start(job)
            some = True
        return some

    def _hopeless(self) -> bool:
        """Tell whether the next job would end as all did, as far as those that run have come."""
        return (
            self.stop_alike
            and self._failures.enough
            and not any(has_begun(self.manifest.run_folder(one.job)) for one in self._running)
        )

    def _more(self) -> bool:
        """Tell whether jobs are left to start."""
        return bool(self._left) or (
            self.search is not None and len(self.manifest.jobs) < self.trials
        )

    def _next(self) -> Job | None:
        if self._left:
            # Behind a failure another kind of job says more than one that is nearly the same.
            at = self._failures.least_alike(self._left) if self.stop_alike else 0
            return self._left.pop(at)
        if self.search is None or len(self.manifest.jobs) >= self.trials:
            return None
        number, words = self.search.ask()
        return self.manifest.add(words, number)

    def _start(self, job: Job) -> None:
        folder = self.manifest.run_folder(job)
        if can_go_on(folder):
            again = said_again((*self.manifest.fixed, *job.swept), folder)
            words, verb = [quoted("resume", str(folder)), *again], "goes on"
        else:
            if folder.exists():  # what cannot go on; the next attempt wants an empty folder
                set_aside(folder, "attempt", max(job.attempts, 1))
            words = [*self.manifest.fixed, *job.swept, quoted("run_dir", str(folder))]
            verb = "started"
        slot = min(set(range(self.parallel)) - {running.slot for running in self._running})
        job = self.manifest.update(
            job, state="running", exit_code=None, ap=None, attempts=job.attempts + 1
        )
        log = self.manifest.log_file(job)
        handle = self.launcher.start(train_command(words), log, slot)
        now = time.monotonic()
        self._running.append(_Running(job, handle, slot, now, now))
        self.say(f"job {self._place(job)} {verb}: {job.label}  (prints to {log.name})")

    def _look_after(self) -> None:
        for running in list(self._running):
            code = running.handle.exit_code()
            if code is not None:
                self._ended(running, code)
            elif self.search is not None and time.monotonic() - running.looked > _LOOK_S:
                running.looked = time.monotonic()
                self._maybe_prune(running)

    def _maybe_prune(self, running: _Running) -> None:
        assert self.search is not None and running.job.trial is not None
        figures = ap_by_epoch(self.manifest.run_folder(running.job))
        if not running.pruned and self.search.report(running.job.trial, figures):
            running.pruned = True
            running.handle.stop()

    def _ended(self, running: _Running, code: int) -> None:
        self._running.remove(running)
        folder = self.manifest.run_folder(running.job)
        ap = best_ap(folder)
        if code == 0:
            state = "done"
        elif running.pruned:
            state = "pruned"
        else:
            state = "stopped" if self._signum else "failed"
        took = time.monotonic() - running.began
        job = self.manifest.update(
            running.job, state=state, exit_code=code, ap=ap, seconds=running.job.seconds + took
        )
        if self.search is not None and job.trial is not None and state != "stopped":
            self.search.report(job.trial, ap_by_epoch(folder))
            # A crashed trial is run again by the next start, so it stays open until then.
            if state != "failed":
                self.search.tell(job.trial, ap, pruned=state == "pruned")
        how = ""
        if state == "failed":
            log = self.manifest.log_file(job)
            reason = why(log)
            how = f"exit code {code}, {reason}; see {log}"
            self._failures.add(job, code, reason, begun=has_begun(folder))
        elif state != "stopped":
            self._failures.refute()
        figure = f"AP {ap:.3f}" if ap is not None else ""
        parts = [part for part in (figure, how, f"{took / 60:.1f} min") if part]
        self.say(f"job {self._place(job)} {state}: {', '.join(parts)}")

    def _stop_all(self) -> None:
        if self._running:
            self.say("stopping; running jobs keep a checkpoint first, Ctrl-C again kills them")
        for running in self._running:
            running.handle.stop()
        wait_for([running.handle for running in self._running])
        self._look_after()

    def _place(self, job: Job) -> str:
        total = max(len(self.manifest.jobs), self.trials if self.search else 0)
        return f"{job.number}/{total}"


def why(log: Path) -> str:
    """Return the line of a job's log that says why it failed: its last error, or its last line."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _END_BYTES))
            lines = file.read().decode("utf-8", "replace").split("\n")
    except OSError as error:
        return f"no log: {error.strerror}"
    said = [line.strip() for line in lines if line.strip()]
    errors = [line for line in said if line.startswith("error: ")]
    return printable((errors or said or ["it printed nothing"])[-1], 300)
