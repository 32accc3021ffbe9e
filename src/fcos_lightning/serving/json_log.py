"""A log of JSON lines, which neither a slow reader nor a hostile text can disturb.

Lines are written by a thread. What a client sent is escaped and cut; where nobody reads, lines are
dropped and counted rather than kept.
"""

from __future__ import annotations

import contextlib
import json
import logging
import queue
import threading
import traceback
from collections.abc import Callable
from datetime import datetime, timezone
from logging.handlers import QueueHandler
from typing import TextIO

from fcos_lightning.printing import LONGEST_LINE, printable

#: Lines that wait for the writer at most.
_MOST_WAITING = 10_000
#: So long the last lines are waited for.
_END_S = 2.0
#: Fields of a line that a message brings along.
_FIELDS = "fields"

_Waiting = queue.Queue[logging.LogRecord | None]

LOG = logging.getLogger("fcos_lightning.serving")
#: From which level on a logger is listened to: a bad form is said by its request's line already.
_LEVELS = {
    LOG.name: logging.INFO,
    "uvicorn": logging.WARNING,
    "python_multipart": logging.CRITICAL,
}


def tell(level: int, event: str, **fields: object) -> None:
    """Write a line.

    Args:
        level: of ``logging``.
        event: what happened, in a word or two.
        **fields: what belongs to it; texts may hold anything.
    """
    LOG.log(level, event, extra={_FIELDS: fields})


class JsonLines(logging.Formatter):
    """One object for each line: time, level, event and its fields, in ASCII."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        time = datetime.fromtimestamp(record.created, timezone.utc)
        line: dict[str, object] = {
            "time": time.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": printable(record.getMessage().strip(), LONGEST_LINE),
        }
        for key, value in getattr(record, _FIELDS, {}).items():
            line[key] = printable(value) if isinstance(value, str) else value
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            told = traceback.format_exception(type(error), error, error.__traceback__)
            line["error"] = printable(f"{type(error).__name__}: {error}", LONGEST_LINE)
            line["traceback"] = "".join(told)[-4000:]
        return json.dumps(line, allow_nan=False, default=str)


class _Quiet(logging.StreamHandler[TextIO]):
    def handleError(self, record: logging.LogRecord) -> None:  # logging's name
        """Go on without a log whose reader has gone."""


class _Bounded(QueueHandler):
    """Hands lines to the writer as they are, or drops them where too many wait."""

    def __init__(self, waiting: _Waiting, lost: Callable[[], None]) -> None:
        super().__init__(waiting)
        self._lost = lost

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        return record

    def enqueue(self, record: logging.LogRecord) -> None:
        try:
            self.queue.put_nowait(record)
        except queue.Full:
            self._lost()


class JsonLog:
    """Turns the log on for as long as it is entered: ours, and that of libraries.

    Args:
        stream: is written into.
        lost: is called for each line that had to be dropped.
    """

    def __init__(self, stream: TextIO, lost: Callable[[], None] = lambda: None) -> None:
        self._waiting: _Waiting = queue.Queue(_MOST_WAITING)
        self._writer = _Quiet(stream)
        self._writer.setFormatter(JsonLines())
        self._handler = _Bounded(self._waiting, lost)
        self._thread = threading.Thread(target=self._write, name="log", daemon=True)
        self._before: list[tuple[logging.Logger, int]] = []

    def _write(self) -> None:
        while (record := self._waiting.get()) is not None:
            self._writer.handle(record)

    def __enter__(self) -> JsonLog:
        self._thread.start()
        # What libraries have to say is a line, too.
        logging.getLogger().addHandler(self._handler)
        for name, level in _LEVELS.items():
            logger = logging.getLogger(name)
            self._before.append((logger, logger.level))
            logger.setLevel(level)
        return self

    def __exit__(self, *error: object) -> None:
        logging.getLogger().removeHandler(self._handler)
        for logger, level in self._before:
            logger.setLevel(level)
        self._before.clear()
        with contextlib.suppress(queue.Full):  # a reader that has stopped is not waited for
            self._waiting.put(None, timeout=_END_S)
            self._thread.join(_END_S)
