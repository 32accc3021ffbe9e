"""Loader processes: how many there are, and how each begins."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from types import TracebackType

import numpy as np

from fcos_lightning.data.augment import single_threaded
from fcos_lightning.data.batches.loader import SHARED_MEMORY
from fcos_lightning.errors import UserError
from fcos_lightning.processors import processor_count
from fcos_lightning.signals import heed_parent_only

#: Loader processes that a machine with few processors may have all the same.
_MANY_WORKERS = 64


def check_workers(number: int) -> None:
    """Refuse more loader processes than a device may be given.

    Raises:
        UserError: naming the option and its range.
    """
    most = max(_MANY_WORKERS, 4 * processor_count())
    if not 0 <= number <= most:
        raise UserError(
            f"data.num_workers={number}: give 0 to {most}; this machine has "
            f"{processor_count()} processors"
        )


def chosen_workers(devices: int, batch_bytes: int) -> int:
    """Return how many loader processes each device is given where nobody says.

    Args:
        devices: of this machine.
        batch_bytes: of one batch of one device.
    """
    wanted = min(max(processor_count() // devices - 1, 1), 8)
    fitting = workers_that_fit(wanted, batch_bytes * devices)
    if fitting < wanted:
        print(
            f"{fitting} loader processes in place of {wanted}, as there is little shared "
            "memory (docker run --shm-size=8g gives more)"
        )
    return fitting


def workers_that_fit(workers: int, batch_bytes: int, folder: Path = SHARED_MEMORY) -> int:
    """Return how many loader processes the shared memory has room for, at most ``workers``.

    Args:
        workers: that would be started.
        batch_bytes: of one batch; each process has up to three on their way.
        folder: where shared memory is; where there is no such folder there is no such limit.
    """
    if not folder.is_dir():
        return workers
    free = shutil.disk_usage(folder).free
    return max(0, min(workers, free // max(1, 3 * batch_bytes)))


def start_worker(worker: int) -> None:
    """Begin a loader process; torch calls this with its number."""
    single_threaded()
    heed_parent_only()
    say_nothing_of_a_run_that_is_gone()
    # Forked from a process that drew its own numbers; nothing here should depend on them.
    np.random.seed(worker)


def say_nothing_of_a_run_that_is_gone() -> None:
    """In a loader process, leave out what its thread that hands batches over says of a run's end.

    A run that is stopped while it takes a batch closes the connection, and Python's thread at the
    other end would print a traceback into the midst of the run's last line.
    """
    usual = sys.excepthook

    def show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if not issubclass(kind, EOFError | ConnectionError):
            usual(kind, error, trace)

    sys.excepthook = show
