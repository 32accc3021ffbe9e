"""Signals that ask a run to stop: noted when they come, answered at the next step."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

#: What a terminal, a scheduler and a time limit (``sbatch --signal=USR1@120``) send.
STOPPING = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name)
)


class Stopped(Exception):
    """The run was asked to stop, and has kept a checkpoint.

    Attributes:
        signum: the signal that asked.
    """

    def __init__(self, signum: int, more: str = "") -> None:
        super().__init__(f"stopped by {signal.Signals(signum).name}{more}")
        self.signum = signum


class SignalWatch:
    """Takes note of signals; a second Ctrl-C interrupts at once.

    Attributes:
        received: the first signal that came, or 0.
    """

    def __init__(self) -> None:
        self.received = 0
        self._before: dict[int, Any] = {}

    def start(self) -> None:
        """Begin to take note; only the main thread can."""
        if threading.current_thread() is threading.main_thread():
            for signum in STOPPING:
                self._before[signum] = signal.signal(signum, self._note)

    def stop(self) -> None:
        """Leave signals to whoever had them before."""
        for signum, handler in self._before.items():
            # None: set by something other than Python, which alone can set it again.
            signal.signal(signum, signal.SIG_DFL if handler is None else handler)
        self._before.clear()

    def _note(self, signum: int, frame: FrameType | None) -> None:
        if self.received and signum == signal.SIGINT:
            raise KeyboardInterrupt
        if not self.received:
            self.received = signum
            name = signal.Signals(signum).name
            again = "; Ctrl-C again stops at once" if signum == signal.SIGINT else ""
            print(f"{name}: stopping after this step{again}", file=sys.stderr, flush=True)


@contextmanager
def handlers_kept() -> Iterator[None]:
    """Put back who answers to the signals that stop a run: Lightning leaves some of its own."""
    before = {signum: signal.getsignal(signum) for signum in STOPPING}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for signum, handler in before.items():
                signal.signal(signum, signal.SIG_DFL if handler is None else handler)


class _Asked(KeyboardInterrupt):
    """A signal asked to stop at once; nothing that catches errors catches this."""

    def __init__(self, signum: int) -> None:
        super().__init__()
        self.signum = signum


@contextmanager
def stopped_in_one_line() -> Iterator[None]:
    """End the process with one line, and status 128 plus the signal, on Ctrl-C and SIGTERM.

    For commands that begin anew rather than go on. Both signals raise, so that what was begun is
    taken back; a signal that is ignored, as Ctrl-C is behind nohup, stays so.
    """

    def stop(signum: int, frame: FrameType | None) -> NoReturn:
        raise _Asked(signum)

    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for asked_by in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(asked_by) is not signal.SIG_IGN:
                before[asked_by] = signal.signal(asked_by, stop)
    try:
        yield
    except KeyboardInterrupt as asked:
        asking = signal.Signals(getattr(asked, "signum", signal.SIGINT))
        print(f"stopped by {asking.name}", file=sys.stderr, flush=True)
        raise SystemExit(128 + asking) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def heed_parent_only() -> None:
    """In a loader process, pass over signals that ask a run to stop, but for its parent's SIGTERM.

    Ctrl-C and a scheduler's signals reach every process of a run, and it is the run that decides
    when no more is read. Its SIGTERM is how Python ends processes that are left at its exit.
    """
    for signum in STOPPING:
        if signum != signal.SIGTERM:
            signal.signal(signum, signal.SIG_IGN)
    if not hasattr(signal, "sigwaitinfo"):  # macOS does not tell who sent a signal
        return
    parent = os.getppid()
    # Blocked before the thread starts, which inherits it, so that only the thread sees it.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})

    def wait() -> None:
        while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
            pass
        os._exit(0)

    threading.Thread(target=wait, name="sigterm", daemon=True).start()
