"""Hands out batches, knows which of them make one optimiser step, and says why a loader ended."""

from __future__ import annotations

import re
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from multiprocessing import active_children
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any
from weakref import WeakSet

from torch import Tensor
from torch.utils.data import DataLoader, get_worker_info

from fcos_lightning.errors import UserError
from fcos_lightning.structures import Batch, PaddedTargets
from fcos_lightning.structures.on_device import OnDevice

#: Where Linux keeps the memory that processes share. A container's has 64 MB unless asked for more.
SHARED_MEMORY = Path("/dev/shm")

_MORE_SHARED = (
    "start the container with more of it (docker run --shm-size=8g), or give data.num_workers=0"
)
#: How torch reports that a loader process is gone.
_GONE = re.compile(
    r"DataLoader worker \(pid\(?s?\)? ?(?P<pids>[\d, ]+)\) "
    r"(is killed by signal: (?P<signal>\w[\w ]*)|exited)"
)
_PID = re.compile(r"\d+")
#: The processes of all loaders, as long as anybody has them.
_STARTED: WeakSet[BaseProcess] = WeakSet()

#: A process whose connection is gone is so itself within this.
_PATIENCE_S = 5.0


class StepLoader(DataLoader[Batch]):
    """A ``DataLoader`` whose batches know the ground truth of their whole optimiser step.

    The losses of a step are divided by its number of positives. Where gradients of several batches
    are accumulated, that number is needed before the first of them is over.

    Args:
        *args: of ``DataLoader``.
        batches_per_step: ``Trainer.accumulate_grad_batches``.
        collate_fn: samples -> batch.
        **kwargs: of ``DataLoader``.

    Raises:
        UserError: while it hands out batches, if a loader process ends or has no memory to hand
            them over in.
    """

    def __init__(
        self,
        *args: Any,  # noqa: ANN401  # those of DataLoader
        batches_per_step: int = 1,
        collate_fn: Callable[[Any], Any],
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(*args, **{**kwargs, "collate_fn": HandedOver(collate_fn)})
        self.batches_per_step = batches_per_step
        self._processes: list[BaseProcess] = []

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]  # as a generator
        ended = None
        before = active_children()
        try:
            try:
                batches = iter(super().__iter__())
                started = [one for one in active_children() if one not in before]
                self._processes = started or self._processes  # which may stay for all epochs
                _STARTED.update(started)
                while step := list(islice(batches, self.batches_per_step)):
                    yield from _introduced(step)
            except (RuntimeError, ConnectionError, EOFError, FileNotFoundError) as error:
                # What is no RuntimeError: the other end is gone while a batch came over; an error
                # of its own says "Caught".
                heard = isinstance(error, RuntimeError) or str(error).startswith("Caught ")
                ended = ended_loader(error) if heard else _by_exit_code(self._processes)
                if ended is None:
                    raise
        except RuntimeError as error:
            # Torch answers the signal of a process that is gone by an error wherever we are, so
            # while the first error is looked at, too.
            ended = ended_loader(error)
            if ended is None:
                raise
        if ended is not None:
            # Not within the above, whose error would keep what watches over the processes alive.
            raise ended


class HandedOver:
    """A ``collate_fn`` that puts a batch into shared memory while errors still reach the run.

    Torch would do so later, in a thread whose errors nobody hears of: the batch is lost, and the
    run waits for it for ever.

    Args:
        collate: samples -> what a loader hands out.
    """

    def __init__(self, collate: Callable[[Any], Any]) -> None:
        self.collate = collate

    def __call__(self, samples: Sequence[Any]) -> Any:  # noqa: ANN401  # whatever it collates to
        """Return the batch."""
        batch = self.collate(samples)
        if get_worker_info() is not None and isinstance(batch, OnDevice):
            try:
                batch.changed(Tensor.share_memory_)
            except RuntimeError as error:
                if "shared memory" not in str(error):
                    raise
                raise UserError(
                    f"a loader process cannot hand over its batch: {_free()}; {_MORE_SHARED}"
                ) from None
        return batch


def ended_loader(error: BaseException) -> UserError | None:
    """Return what to say of an error that means that a loader process is gone; None of any other.

    Torch raises it wherever the run is when a process ends, or where it next waits for a batch.
    """
    # Of a process that a signal ended, the error behind this one may tell.
    for one in (error.__cause__, error):
        if (gone := _GONE.search(str(one))) and gone["signal"]:
            return UserError(_why(gone["signal"]))
    if not (gone := _GONE.search(str(error))):
        return None
    pids = {int(pid) for pid in _PID.findall(gone["pids"])}
    return _by_exit_code([one for one in _STARTED if one.pid in pids])


def _by_exit_code(processes: Sequence[BaseProcess]) -> UserError:
    """Say how a loader process ended, as the system tells who started it.

    Torch cannot say so where it has looked after the process before the signal of its end came.
    """
    until = time.monotonic() + _PATIENCE_S
    try:
        while processes and time.monotonic() < until:
            if codes := [code for one in processes if (code := one.exitcode)]:
                # Those still there when one of them was lost are told to end.
                code = next((code for code in codes if code != -signal.SIGTERM), codes[0])
                return UserError(_why(signal.strsignal(-code) if code < 0 else None))
            time.sleep(0.05)
    except RuntimeError as error:  # torch's answer to that signal, wherever we are
        if not (gone := _GONE.search(str(error))):
            raise
        return UserError(_why(gone["signal"]))
    return UserError(_why(None))


def _free() -> str:
    if not SHARED_MEMORY.is_dir():
        return "there is too little shared memory"
    usage = shutil.disk_usage(SHARED_MEMORY)
    return f"{SHARED_MEMORY} has {usage.free >> 10} of {usage.total >> 10} KB left"


def _why(signal_name: str | None) -> str:
    if signal_name and "Bus error" in signal_name:
        return f"a loader process ended by a bus error, as where {_free()}; {_MORE_SHARED}"
    if signal_name and "Killed" in signal_name:
        return (
            "a loader process was killed, most likely by the system for want of memory: give a "
            "smaller data.num_workers or data.batch_size"
        )
    how = f"by {signal_name}" if signal_name else "by itself"
    return f"a loader process ended {how}: data.num_workers=0 shows more of what went wrong"


def _introduced(step: Sequence[Batch]) -> Sequence[Batch]:
    first, *others = step
    if not others:
        return step
    rest = tuple(PaddedTargets(other.targets, other.images.padded_size) for other in others)
    return [replace(first, rest_of_step=rest), *others]
