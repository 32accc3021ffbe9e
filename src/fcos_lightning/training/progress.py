"""The progress bar: losses, positives per level, speed, waiting."""

from __future__ import annotations

import lightning as L
from lightning.pytorch.callbacks import RichProgressBar

from fcos_lightning.training.monitor import Monitor

_SHORT = {"train/loss": "loss", "train/cls": "cls", "train/box": "box", "train/quality": "quality"}


class RunProgressBar(RichProgressBar):
    """Lightning's rich progress bar with short names, so that all figures fit one line.

    Args:
        refresh_rate: in batches.
    """

    def __init__(self, refresh_rate: int = 1) -> None:
        super().__init__(refresh_rate=refresh_rate, leave=False)

    def get_metrics(
        self, trainer: L.Trainer, pl_module: L.LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        """Return what the bar shows; called by Lightning."""
        figures = trainer.progress_bar_metrics
        shown: dict[str, int | str | float | dict[str, float]] = {
            short: f"{figures[key]:.3f}" for key, short in _SHORT.items() if key in figures
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
