"""The progress bar: losses, positives per level, speed, waiting, time left for the whole run."""

from __future__ import annotations

import time

import lightning as L
from rich.progress import Task

from fcos_lightning.lightning_internals import ProgressBarFromOne
from fcos_lightning.training.callbacks.forecast import Forecast, duration
from fcos_lightning.training.callbacks.monitor import Monitor

_PAUSE_S = 0.5
_PREFIX = "train/"

_Shown = dict[str, int | str | float | dict[str, float]]


class RunProgressBar(ProgressBarFromOne):
    """Lightning's rich progress bar with short names, and the time that is left of the whole run.

    Args:
        refresh_rate: in batches.
    """

    def __init__(self, refresh_rate: int = 10) -> None:
        super().__init__(refresh_rate=refresh_rate, leave=False)
        self._drawn_at = 0.0
        self._measured_at = 0.0
        self._shown: _Shown = {}
        self._left_s: float | None = None

    def refresh(self, hard: bool = False) -> None:
        """Redraw, but not more often than eyes can follow; called by Lightning at every batch.

        On two processors that train a small net, drawing and collecting the figures each time took
        a third of the run.
        """
        now = time.monotonic()
        if hard or now - self._drawn_at > _PAUSE_S:
            self._drawn_at = now
            super().refresh(hard)

    def get_metrics(self, trainer: L.Trainer, pl_module: L.LightningModule) -> _Shown:
        """Return what the bar shows, as it was at most half a second ago; called by Lightning."""
        now = time.monotonic()
        if now - self._measured_at > _PAUSE_S:
            self._measured_at = now
            self._shown = _measured(trainer)
            self._left_s = _left_s(trainer)
        return self._shown

    def time_left(self, task: Task, training: bool) -> str:
        """Return what is left of the run, or of an evaluation; before that is known, what passed.

        The steps of an epoch end with it, while what people wait for is the run.
        """
        left = self._left_s if training else task.time_remaining
        if left is not None:
            return f"{duration(left)} left"
        return f"{duration(task.elapsed or 0.0)} so far"


def _measured(trainer: L.Trainer) -> _Shown:
    figures = trainer.progress_bar_metrics
    shown: _Shown = {
        key.removeprefix(_PREFIX): f"{value:.3f}"
        for key, value in figures.items()
        if key.startswith(_PREFIX) and not key.endswith(("_step", "_epoch"))
    }
    for callback in trainer.callbacks:  # type: ignore[attr-defined]  # set in its constructor
        if isinstance(callback, Monitor) and callback.positives:
            shown["positives"] = " ".join(
                f"{level}:{count:.0f}" for level, count in callback.positives.items()
            )
            shown["images/s"] = f"{callback.images_per_s:.1f}"
            shown["wait"] = f"{callback.wait_share:.0%}"
    if "val/AP" in figures:
        shown["AP"] = f"{figures['val/AP']:.3f}"
    return shown


def _left_s(trainer: L.Trainer) -> float | None:
    callbacks: list[L.Callback] = trainer.callbacks  # type: ignore[attr-defined]  # in its constructor
    told = (one.left_s(trainer) for one in callbacks if isinstance(one, Forecast))
    return next(told, None)
