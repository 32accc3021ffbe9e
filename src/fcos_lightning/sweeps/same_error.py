"""Notices that the jobs of a sweep all end with one error, whatever is swept."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from fcos_lightning.sweeps.manifest import Job


class Alike(Exception):
    """All jobs that were tried ended with one error before they learnt anything.

    Attributes:
        tried: how many were.
        reason: the error, as the jobs said it.
    """

    def __init__(self, tried: int, reason: str) -> None:
        super().__init__(reason)
        self.tried = tried
        self.reason = reason

    def in_words(self, folder: Path) -> str:
        """Return the line that says so, and how to go on.

        Args:
            folder: of the sweep.
        """
        on = f"fcos-train -m {shlex.quote(f'sweep.resume={folder}')} sweep.on_same_error=run"
        return (
            f"stopped: {self.tried} jobs ended with one error before their first figures, and no "
            f"other was started: {self.reason.removeprefix('error: ')}; mend it and give the same "
            f"command again, or try the others all the same by {on}"
        )


class SameError:
    """What the jobs that have ended so far had in common, as long as all failed alike.

    Args:
        needed: so many failures are enough.
    """

    def __init__(self, needed: int) -> None:
        self.needed = needed
        self.jobs: list[Job] = []
        self.reason = ""
        self._code = 0
        self._refuted = False

    def add(self, job: Job, code: int, reason: str, begun: bool) -> None:
        """Take in a job that failed.

        Args:
            job: that ended.
            code: its exit status; below 0: a signal ended it, which says nothing of others.
            reason: the error that it said.
            begun: whether it had learnt anything.
        """
        reason = reason.replace(job.folder, "RUN")  # which is all that differs in some
        if begun or code < 0 or (self.jobs and (code, reason) != (self._code, self.reason)):
            self.refute()
        if not self._refuted:
            self._code, self.reason = code, reason
            self.jobs.append(job)

    def refute(self) -> None:
        """Take in a job that ended in any other way."""
        self._refuted = True
        self.jobs.clear()

    @property
    def enough(self) -> bool:
        """Whether no job can be expected to end otherwise.

        A value that all of them shared, of several that are swept, may be what is wrong.
        """
        return len(self.jobs) >= self.needed and not set.intersection(
            *(set(job.swept) for job in self.jobs)
        )

    def least_alike(self, jobs: Sequence[Job]) -> int:
        """Return the place of the job that shares the fewest values with those that failed."""
        failed = [set(job.swept) for job in self.jobs]
        shared = [sum(len(words & set(job.swept)) for words in failed) for job in jobs]
        return shared.index(min(shared))
