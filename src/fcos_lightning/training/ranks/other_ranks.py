"""What becomes of a run of several processes when one of them comes to grief.

The others notice by a connection that breaks, which says nothing of the cause. So that one line
does, from the process that knows it: who has the cause speaks; rank 0, which started the others and
sees how they end, speaks for those that were killed; and a rank whose rank 0 is gone speaks for it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn

import lightning as L
import torch.distributed as dist

from fcos_lightning.errors import SharedError, UserError
from fcos_lightning.lightning_internals import processes_started
from fcos_lightning.printing import first_line
from fcos_lightning.signals import Stopped

#: How long a rank that has lost contact waits to learn of the cause.
_PATIENCE_S = 10.0
_LOOK_S = 0.25
#: What gloo, NCCL and the store say when another process is gone.
_LOST_CONTACT = (
    "Connection closed by peer", "Connection reset by peer", "Broken pipe", "Connection refused",
    "Socket Timeout", "gloo", "NCCL", "recvValue failed", "sendBytes failed", "failed to recv",
)  # fmt: skip

#: Processes that this one started, as rank 0 of a run: a later Trainer goes on with them.
_started: list[subprocess.Popen[bytes]] = []


class LostRank(UserError):
    """Another process of the run is gone."""


@contextmanager
def together(trainer: L.Trainer) -> Iterator[None]:
    """Let the ranks of a Trainer end together, whatever happens to one, with one line.

    Args:
        trainer: that works inside.

    Raises:
        LostRank: if another rank has ended without saying why.
        SystemExit: if another rank has said why.
    """
    if trainer.world_size == 1:
        with _no_success_in_between():
            yield
        return
    processes_started(trainer, _started)
    watch = _Watch(trainer.global_rank)
    watch.start()
    try:
        with _no_success_in_between():
            yield
    except (Stopped, SharedError):
        raise
    except BaseException as error:
        watch.main_speaks()
        if isinstance(error, Exception) and _is_lost_contact(error):
            _raise_cause(error, trainer.global_rank)
        end_started()
        raise
    finally:
        watch.over.set()


@contextmanager
def _no_success_in_between() -> Iterator[None]:
    """Let a process that is ended by ``os._exit(0)`` in the middle of its run not end as if done.

    Whoever started it, a sweep or a scheduler, takes status 0 for a run that is through. Nothing
    else is asked on that way out, so the function itself is replaced.
    """
    leave, owner = os._exit, os.getpid()

    def leave_undone(status: int) -> NoReturn:
        if status != 0 or os.getpid() != owner:
            leave(status)
        print("error: os._exit(0) was called in the middle of the run", file=sys.stderr, flush=True)
        end_started()
        leave(1)

    os._exit = leave_undone
    try:
        yield
    finally:
        os._exit = leave


def end_started() -> None:
    """End the processes that this one has started, if any: it has the cause, and says it."""
    for process in _started:
        if process.poll() is None:
            process.kill()
    for process in _started:
        process.wait()


def _is_lost_contact(error: Exception) -> bool:
    said = str(error)
    return isinstance(error, dist.DistError) or (
        isinstance(error, RuntimeError) and any(words in said for words in _LOST_CONTACT)
    )


def _raise_cause(error: Exception, rank: int) -> None:
    """Raise what explains that contact was lost."""
    if "EADDRINUSE" in str(error):
        end_started()
        raise UserError(
            f"MASTER_PORT={os.environ.get('MASTER_PORT')}: another program uses this port; choose "
            "another, or leave MASTER_PORT out"
        ) from error
    until = time.monotonic() + _PATIENCE_S
    while time.monotonic() < until:
        ended = _ended()
        if ended is not None:
            end_started()
            said = _said(*ended)
            if said is None:
                raise SystemExit(2) from None
            raise LostRank(said) from error
        time.sleep(_LOOK_S)  # rank 0 ends those that it has started, as soon as it knows the cause
    end_started()
    raise LostRank(
        f"rank {rank} has lost contact with another rank, which has not said why: "
        f"{first_line(error)[:200]}"
    ) from error


def _ended() -> tuple[int, int] | None:
    """Return the local rank and the status of a process of ours that has ended; killed ones first.

    One that was killed is the cause, others may have ended because of it.
    """
    ended = [(rank, process.poll()) for rank, process in enumerate(_started, start=1)]
    known = [(rank, code) for rank, code in ended if code is not None]
    return min(known, key=lambda one: one[1], default=None)


def _said(rank: int, code: int) -> str | None:
    """Return what to say of a rank that has ended; None: it has said it itself."""
    if code == 2:
        return None
    if code < 0:
        more = ", perhaps for want of memory" if -code == signal.SIGKILL else ""
        return f"rank {rank} of the run was ended by {signal.Signals(-code).name}{more}"
    if code > 128 and code - 128 in set(signal.Signals):
        return f"rank {rank} of the run was ended by {signal.Signals(code - 128).name}"
    return f"rank {rank} of the run ended with status {code}; what it printed says why"


class _Watch(threading.Thread):
    """Ends a rank that waits for another that is gone, as NCCL does for ten minutes.

    Attributes:
        over: set once the ranks need each other no more.
    """

    def __init__(self, rank: int) -> None:
        super().__init__(name="other ranks", daemon=True)
        self.over = threading.Event()
        self._rank = rank
        self._parent = os.getppid()
        self._speaks = threading.Lock()
        self._lost: Callable[[], str | bool | None] = self._child if rank == 0 else self._first

    def main_speaks(self) -> None:
        """Leave it to the main thread to say the cause."""
        if self._rank == 0:
            self._speaks.acquire()

    def run(self) -> None:
        """Look until it is over."""
        noticed = 0.0
        while not self.over.wait(_LOOK_S):
            lost = self._lost()
            if lost is False:
                continue
            noticed = noticed or time.monotonic()
            # The main thread mostly learns of it soon, or comes to its end.
            if time.monotonic() - noticed < (_PATIENCE_S if self._rank == 0 else _PATIENCE_S / 3):
                continue
            if self.over.is_set() or not self._speaks.acquire(blocking=False):
                return
            if isinstance(lost, str):
                print(f"error: {lost}", file=sys.stderr, flush=True)
            for process in _started:
                if process.poll() is None:
                    process.kill()
            os._exit(2)

    def _child(self) -> str | bool | None:
        ended = _ended()
        return False if ended is None else _said(*ended)

    def _first(self) -> str | bool | None:
        if os.getppid() == self._parent:
            return False
        if os.environ.get("LOCAL_RANK") != "1":
            return None
        return "rank 0 of the run was ended from outside, perhaps for want of memory"
