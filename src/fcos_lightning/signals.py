"""Signals that ask a command to stop: answered at once, or noted and answered at the next step."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

#: What a terminal, a scheduler and a time limit (``sbatch --signal=USR1@120``) send.
STOPPING = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name)
)


#: After a first signal, further ones are passed over so long: what was begun is being taken back,
#: and a scheduler, or a terminal, often tells more than once.
_PATIENCE_S = 10.0
_LOOK_S = 0.05


class Stopped(Exception):
    """The run was asked to stop, and says how it may go on.

    Attributes:
        signum: the signal that asked.
    """

    def __init__(self, signum: int, more: str = "") -> None:
        super().__init__(f"stopped by {signal.Signals(signum).name}{more}")
        self.signum = signum


class Asked(BaseException):
    """A signal asked to stop at once; nothing that catches errors catches this.

    No ``KeyboardInterrupt``, which Lightning answers by ending the process with status 1.

    Attributes:
        signum: the signal that asked.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.signum = signum


class _BetweenImports:
    """Tells whether a signal comes in the midst of an import, and sends it again until it does not.

    An error raised there leaves a module half made. What tidies up afterwards may import it once
    more, and then torch ends in a crash, or in an error about something else altogether.
    """

    def __init__(self) -> None:
        self._outside = _imports(sys._getframe(1))
        self._waiting = 0
        self._lock = threading.Lock()

    def puts_off(self, signum: int, frame: FrameType | None) -> bool:
        """Return whether the signal will come again, and is not to be answered now."""
        if _imports(frame) <= self._outside:
            return False
        if not self._waiting:
            self._waiting = signum
            again = threading.Timer(_LOOK_S, self._send)
            again.daemon = True
            again.start()
        return True

    def _send(self) -> None:
        with self._lock:
            if self._waiting:
                signum, self._waiting = self._waiting, 0
                os.kill(os.getpid(), signum)

    def end(self) -> int:
        """Send nothing any more, as who answers will be gone; return the signal put off, or 0."""
        with self._lock:
            signum, self._waiting = self._waiting, 0
        return signum


def _imports(frame: FrameType | None) -> int:
    """Return how many calls of the machinery of imports a frame is in."""
    number = 0
    while frame is not None:
        number += frame.f_code.co_filename == "<frozen importlib._bootstrap>"
        frame = frame.f_back
    return number


class SignalWatch:
    """Takes note of signals; a second Ctrl-C interrupts at once.

    Attributes:
        received: the first signal that came, or 0.
        at_once: whether the first one interrupts at once too, as where nothing is to be kept.
    """

    def __init__(self) -> None:
        self.received = 0
        self.at_once = False
        self._process = os.getpid()
        self._before: dict[int, Any] = {}
        self._between = _BetweenImports()

    def start(self) -> None:
        """Begin to take note; only the main thread can."""
        if threading.current_thread() is threading.main_thread():
            self._between = _BetweenImports()
            for signum in STOPPING:
                self._before[signum] = signal.signal(signum, self._note)

    def stop(self) -> None:
        """Leave signals to whoever had them before."""
        self.received = self._between.end() or self.received
        for signum, handler in self._before.items():
            # None: set by something other than Python, which alone can set it again.
            signal.signal(signum, signal.SIG_DFL if handler is None else handler)
        self._before.clear()

    def _note(self, signum: int, frame: FrameType | None) -> None:
        if _is_fork(self._process, signum):
            return
        if self.at_once or (self.received and signum == signal.SIGINT):
            self.received = self.received or signum
            if self._between.puts_off(signum, frame):
                return
            raise Asked(signum)
        if not self.received:
            self.received = signum
            name = signal.Signals(signum).name
            again = "; Ctrl-C again stops at once" if signum == signal.SIGINT else ""
            print(f"{name}: stopping after this step{again}", file=sys.stderr, flush=True)


def _is_fork(process: int, signum: int) -> bool:
    """Tell whether this is a loader process that has not come to ``heed_parent_only`` yet."""
    if os.getpid() == process:
        return False
    if signum == signal.SIGTERM:
        os._exit(0)
    return True


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


@contextmanager
def stopped_in_one_line(speaks: Callable[[], bool] = lambda: True) -> Iterator[None]:
    """End the process with one line, and status 128 plus the signal, when it is asked to stop.

    The signals raise, so that what was begun is taken back. One that is ignored, as Ctrl-C is
    behind nohup, stays so.

    Args:
        speaks: whether this process prints the line, of several that work together.
    """
    process, asked_at, between = os.getpid(), 0.0, _BetweenImports()

    def stop(signum: int, frame: FrameType | None) -> None:
        nonlocal asked_at
        if _is_fork(process, signum):
            return
        now = time.monotonic()
        if asked_at and now - asked_at < _PATIENCE_S:
            return
        if between.puts_off(signum, frame):
            return
        asked_at = now
        raise Asked(signum)

    before: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        for asked_by in STOPPING:
            if signal.getsignal(asked_by) is not signal.SIG_IGN:
                before[asked_by] = signal.signal(asked_by, stop)
    try:
        yield
        if waiting := between.end():
            raise Asked(waiting)
    except (Asked, KeyboardInterrupt) as asked:
        asking = signal.Signals(getattr(asked, "signum", signal.SIGINT))
        if speaks():
            print(f"stopped by {asking.name}", file=sys.stderr, flush=True)
        raise SystemExit(128 + asking) from None
    finally:
        between.end()
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
