"""What Lightning shows of a run that goes on."""

from __future__ import annotations

from lightning.pytorch.callbacks import RichProgressBar


class ProgressBarFromOne(RichProgressBar):
    """Counts epochs from 1, as all else does that a run prints.

    In public a bar of one's own has to draw everything itself.
    """

    def _get_train_description(self, current_epoch: int) -> str:
        last = self.trainer.max_epochs
        of = f"/{last}" if last is not None and last > 0 else ""
        # As long as the other descriptions, or the bars would jump.
        return f"Epoch {current_epoch + 1}{of}".ljust(len(self.validation_description))
