"""What Lightning shows of a run that goes on."""

from __future__ import annotations

from typing import Any

import lightning as L
from lightning.pytorch.callbacks import RichProgressBar
from lightning.pytorch.callbacks.progress.rich_progress import (
    CustomBarColumn,
    CustomTimeColumn,
    ProcessingSpeedColumn,
)
from rich.progress import ProgressColumn, Task
from rich.text import Text

#: In letters; Lightning's 40 leave no room for figures.
_BAR_WIDTH = 16


class ProgressBarFromOne(RichProgressBar):
    """Counts epochs from 1, as all else does that a run prints, and says in words what is left.

    In public a bar of one's own has to draw everything itself.
    """

    def time_left(self, task: Task, training: bool) -> str:
        """Return what is said of a bar's time; called from the thread that draws.

        Args:
            task: the bar.
            training: whether it is that of an epoch, with which it ends, and not with the run.
        """
        raise NotImplementedError

    def configure_columns(self, trainer: L.Trainer) -> list[Any]:
        """Return the columns: a shorter bar, no speed, and our own time; called by Lightning."""
        columns: list[Any] = []
        for column in super().configure_columns(trainer):
            if isinstance(column, CustomTimeColumn):
                column = _TimeLeft(self)
            elif isinstance(column, CustomBarColumn):
                column.bar_width = _BAR_WIDTH
            if not isinstance(column, ProcessingSpeedColumn):
                columns.append(column)
        return columns

    def _get_train_description(self, current_epoch: int) -> str:
        last = self.trainer.max_epochs
        of = f"/{last}" if last is not None and last > 0 else ""
        # As long as the other descriptions, or the bars would jump.
        return f"Epoch {current_epoch + 1}{of}".ljust(len(self.validation_description))


class _TimeLeft(ProgressColumn):
    """Asks the bar; no more than twice a second, as eyes follow."""

    max_refresh = 0.5

    def __init__(self, bar: ProgressBarFromOne) -> None:
        self._bar = bar
        super().__init__()

    def render(self, task: Task) -> Text:
        training = task.id == self._bar.train_progress_bar_id
        return Text(self._bar.time_left(task, training), style=self._bar.theme.time)
