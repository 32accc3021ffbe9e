"""Work on one thing after the other in threads: several at a time, few ahead, and kept in order."""

from __future__ import annotations

import os
import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
#: What more threads would wait for one another: files are decoded and written by the processors.
_MOST_THREADS = 8


def thread_count() -> int:
    """Return how many threads read or write images: one for each processor, within reason."""
    try:
        processors = len(os.sched_getaffinity(0))
    except AttributeError:  # not everywhere
        processors = os.cpu_count() or 1
    return max(1, min(processors, _MOST_THREADS))


def in_order(
    work: Callable[[_Item], _Result], items: Iterable[_Item], threads: int, ahead: int
) -> Generator[_Result, None, None]:
    """Yield what ``work`` makes of each item, in the order of the items.

    Items are taken by the thread that asks for results. When this is closed, what has begun is
    waited for, and nothing more begins: close it, as by ``contextlib.closing``, before what the
    work writes into is taken away.

    Args:
        work: is called in other threads; what it raises is raised in its turn.
        items: any number of them.
        threads: at most so many at a time.
        ahead: so many items are taken before the result of the first is yielded.
    """
    waiting: deque[Future[_Result]] = deque()
    pool = ThreadPoolExecutor(threads, thread_name_prefix="images")
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            del item  # it is the work's now, and may be large
            if len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def from_thread(items: Iterable[_Item], ahead: int) -> Generator[_Item, None, None]:
    """Yield the items that a thread of their own takes, few ahead.

    Args:
        items: is walked through in another thread, and closed there.
        ahead: so many are there at most.
    """
    ready: queue.Queue[tuple[str, object]] = queue.Queue(maxsize=max(1, ahead))
    stopped = threading.Event()

    def put(kind: str, what: object) -> bool:
        while not stopped.is_set():
            try:
                ready.put((kind, what), timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def take() -> None:
        walk = iter(items)
        try:
            for item in walk:
                if not put("item", item):
                    return
            put("end", None)
        except BaseException as error:  # whatever it is, it belongs to who asks
            put("error", error)
        finally:
            if hasattr(walk, "close"):
                walk.close()

    thread = threading.Thread(target=take, name="frames", daemon=True)
    thread.start()
    try:
        while True:
            kind, what = ready.get()
            if kind == "end":
                return
            if kind == "error":
                assert isinstance(what, BaseException)
                raise what
            yield what  # type: ignore[misc]  # an item, as it says
            del what
    finally:
        stopped.set()
        thread.join(timeout=5.0)  # a stream may be waiting for its sender
