"""Threads that write a log beside a run."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def writers_fail_once() -> Iterator[None]:
    """Let a thread that writes a log and fails leave it to the run to say so.

    TensorBoard's thread keeps its error, which is raised where more is logged, and raises it beside
    that in the thread, where Python prints all of it. That it keeps it is in no public word.
    """
    before = threading.excepthook

    def said_elsewhere(told: threading.ExceptHookArgs) -> None:
        kept = getattr(told.thread, "exception", None)
        if kept is None or kept is not told.exc_value:
            before(told)

    threading.excepthook = said_elsewhere
    try:
        yield
    finally:
        threading.excepthook = before
