"""Bars on the terminal, with the time that is left, and sizes in words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)


@dataclass(frozen=True)
class Bar:
    """One line of a progress display, told absolute figures."""

    bars: Progress
    task: TaskID

    def show(self, done: int, total: int | None) -> None:
        """Say how many bytes are done, and of how many where that is known."""
        self.bars.update(self.task, completed=done, total=total)

    def say(self, line: str) -> None:
        """Print a line above the bar, also where none is drawn."""
        self.bars.console.print(line, soft_wrap=True, markup=False, highlight=False)


@contextmanager
def progress_bar(name: str, shown: bool = True) -> Iterator[Bar]:
    """Bar of bytes on stderr; silent where stderr is no terminal, so that logs stay readable."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not (shown and console.is_terminal)) as bars:
        yield Bar(bars, bars.add_task(name, total=None))


@contextmanager
def counting_bar(
    name: str, total: int | None, console: Console | None = None, shown: bool = True
) -> Iterator[Callable[[], None]]:
    """Bar of things done, with the time that is left; silent where stderr is no terminal.

    Args:
        name: what is done, or what is counted.
        total: how many there are; None: nobody knows.
        console: where to draw; standard error by default.
        shown: False: not at all.

    Yields:
        What is called after each of them.
    """
    console = console or Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not (shown and console.is_terminal)) as bars:
        task = bars.add_task(name, total=total)
        yield lambda: bars.advance(task)


def readable_size(count: int) -> str:
    """Bytes in words: ``19.3 GB``, in powers of 1000 as the publishers count."""
    if count < 1000:
        return f"{count} bytes"
    value = float(count)
    for unit in ("kB", "MB", "GB", "TB"):
        value /= 1000
        if value < 999.95 or unit == "TB":
            break
    return f"{value:.1f} {unit}"
