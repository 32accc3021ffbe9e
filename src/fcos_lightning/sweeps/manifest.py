"""What became of each job of a sweep, on disk after every change."""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_type_hints

from fcos_lightning.arguments import described, fits
from fcos_lightning.errors import UserError
from fcos_lightning.printing import first_line, printable
from fcos_lightning.storage.replacing import write_whole

State = Literal["waiting", "running", "done", "failed", "stopped", "pruned"]
#: States that another start of the sweep does not touch.
FINISHED = ("done", "pruned")
FILE = "manifest.json"
_FORMAT = 1
_CONTENT: dict[str, Any] = {
    "words": list[str],
    "settings": dict[str, Any],
    "fixed": list[str],
    "jobs": list[dict[str, Any]],
}


@dataclass(frozen=True)
class Job:
    """One run of a sweep.

    Attributes:
        number: 1-based.
        swept: what makes it differ from the others, as words of a command line.
        folder: of the run, relative to the sweep's.
        state: ``waiting``, ``running``, ``done``, ``failed``, ``stopped`` or ``pruned``.
        exit_code: of its last attempt.
        ap: best AP on the validation split, as far as it came.
        attempts: how often it was started.
        seconds: of all attempts.
        trial: its number in Optuna's storage.
    """

    number: int
    swept: tuple[str, ...]
    folder: str
    state: State = "waiting"
    exit_code: int | None = None
    ap: float | None = None
    attempts: int = 0
    seconds: float = 0.0
    trial: int | None = None

    @property
    def values(self) -> dict[str, str]:
        """The swept keys with their values."""
        return dict(word.split("=", 1) for word in self.swept)

    @property
    def label(self) -> str:
        """The job as it is shown to people."""
        return " ".join(self.swept)


@dataclass
class Manifest:
    """The jobs of a sweep, and the command they come from.

    Attributes:
        folder: of the sweep.
        words: of the command, without those that begin with ``sweep``.
        settings: ``sweep.*`` as they were composed.
        fixed: words that every job gets.
        jobs: in the order they were made.
    """

    folder: Path
    words: tuple[str, ...]
    settings: dict[str, Any]
    fixed: tuple[str, ...]
    jobs: list[Job] = field(default_factory=list)

    def add(self, swept: Sequence[str], trial: int | None = None) -> Job:
        """Append a job and save."""
        number = len(self.jobs) + 1
        job = Job(number, tuple(swept), folder_name(number, swept), trial=trial)
        self.jobs.append(job)
        self.save()
        return job

    def update(self, job: Job, **changes: Any) -> Job:  # noqa: ANN401  # fields of a job
        """Change what is known of a job, and save."""
        changed = replace(job, **changes)
        self.jobs[job.number - 1] = changed
        self.save()
        return changed

    @property
    def unfinished(self) -> list[Job]:
        """Jobs that another start has to run."""
        return [job for job in self.jobs if job.state not in FINISHED]

    def run_folder(self, job: Job) -> Path:
        """Return where the run of a job is."""
        return self.folder / job.folder

    def log_file(self, job: Job) -> Path:
        """Return what a job printed, beside its folder, which a run wants to find empty."""
        return self.folder / f"{job.folder}.log"

    def save(self) -> None:
        """Write the manifest; the file is replaced whole or not at all."""
        content = {
            "format": _FORMAT,
            "words": self.words,
            "settings": self.settings,
            "fixed": self.fixed,
            "jobs": [asdict(job) for job in self.jobs],
        }
        write_whole(json.dumps(content, indent=1), self.folder / FILE)

    @classmethod
    def load(cls, folder: Path) -> Manifest:
        """Read the manifest of a sweep.

        Raises:
            UserError: if the folder holds none that this version can read.
        """
        file = folder / FILE
        if not file.is_file():
            raise UserError(f"sweep.resume={folder}: holds no {FILE}, so it is not a sweep")
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            known = content["format"]
        except (ValueError, KeyError, TypeError, OSError, RecursionError) as error:
            raise UserError(f"{file}: not a manifest of a sweep: {first_line(error)}") from error
        if known != _FORMAT:
            raise UserError(
                f"{file}: format {printable(known)} is not known to this version, which reads "
                f"{_FORMAT}; update fcos-lightning"
            )
        for key, hint in _CONTENT.items():
            if not fits(content.get(key), hint):
                raise UserError(f"{file}: not a manifest of a sweep: {key} is no {described(hint)}")
        jobs = [_job(job, number, file) for number, job in enumerate(content["jobs"], start=1)]
        words, fixed = tuple(content["words"]), tuple(content["fixed"])
        return cls(folder, words, content["settings"], fixed, jobs)


def _job(content: dict[str, Any], number: int, file: Path) -> Job:
    """Return a job as it was written down.

    Raises:
        UserError: if it is none, or its folder lies elsewhere.
    """
    hints = get_type_hints(Job)
    wrong = [key for key, hint in hints.items() if not fits(content.get(key), hint)]
    wrong += sorted(set(content) - set(hints))
    if not wrong and content["number"] != number:
        wrong = ["number"]
    if wrong:
        raise UserError(
            f"{file}: not a manifest of a sweep: job {number} has no such {printable(wrong[0])}"
        )
    if Path(content["folder"]).name != content["folder"] or content["folder"] in ("", ".."):
        raise UserError(
            f"{file}: the folder of job {number}, {printable(content['folder'])}, is not one "
            "beside it"
        )
    return Job(**{**content, "swept": tuple(content["swept"])})


def folder_name(number: int, swept: Sequence[str]) -> str:
    """Return a folder's name for a job: its number and overrides, without awkward characters."""
    words = [re.sub(r"[^\w.-]+", "-", word.lstrip("+~")).strip("-") for word in swept]
    return f"{number:03d}_{'_'.join(words)}"[:120].rstrip("-_.")


class Lock:
    """Keeps two processes from working on one sweep; a job that still runs holds it as well.

    Args:
        folder: of the sweep.

    Raises:
        UserError: if it is held already.
    """

    def __init__(self, folder: Path) -> None:
        self.fd = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self.fd)
            raise UserError(
                f"{folder}: another process works on this sweep, or one of its jobs still runs; "
                "wait for it, or choose another folder by sweep.dir=DIR"
            ) from None

    def release(self) -> None:
        """Give the lock up; jobs that still run keep it."""
        os.close(self.fd)
