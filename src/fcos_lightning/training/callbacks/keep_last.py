"""Keeps ``last.ckpt``: from which a run goes on exactly, wherever it was stopped."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Literal

import lightning as L
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.trainer.states import TrainerFn

from fcos_lightning.errors import UserError
from fcos_lightning.lightning_internals import (
    as_before_validation,
    as_between_batches,
    steps_logged,
)
from fcos_lightning.signals import SignalWatch, Stopped
from fcos_lightning.storage.run_folder import RunFolder
from fcos_lightning.structures import Batch
from fcos_lightning.training.agreement import Agreement
from fcos_lightning.training.checkpoint_io import remove_drafts
from fcos_lightning.training.csv_log import RunCSVLogger

_SAVE = 1  # below every signal's number, so that the highest wish of all ranks is what is done


_Moment = Literal["before batch", "before validation", "after validation", "elsewhere"]


class KeepLast(Checkpoint):
    """Saves ``last.ckpt`` after each epoch, every so often within it, and when asked to stop.

    SIGINT, SIGTERM and SIGUSR1 ask. All ranks stop at the same step. Checkpoints are taken only
    between optimiser steps, since gradients that are being accumulated are in none.

    Args:
        folder: where ``last.ckpt`` goes.
        every_n_minutes: save within an epoch after so long; None: only by steps.
        every_n_steps: save at every multiple of so many optimiser steps; None: only by time.
    """

    def __init__(
        self,
        folder: str | Path,
        every_n_minutes: float | None = 15.0,
        every_n_steps: int | None = None,
    ) -> None:
        for key, value in (("minutes", every_n_minutes), ("steps", every_n_steps)):
            if value is not None and value <= 0:
                raise UserError(
                    f"checkpoint.every_n_{key}={value}: give a number above 0, or null for never"
                )
        self.file = Path(folder) / RunFolder.LAST
        self.every_n_minutes = every_n_minutes
        self.every_n_steps = every_n_steps
        self._watch = SignalWatch()
        self._agreement: Agreement | None = None
        self._saved_at_s = 0.0
        self._saved_at_step = 0
        self._moment: _Moment = "elsewhere"
        self._votes_left = 0

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Clear what a killed process left half written; called by Lightning."""
        if trainer.is_global_zero:
            remove_drafts(self.file.parent)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Begin to listen for signals; called by Lightning."""
        self._agreement = Agreement(trainer.world_size)
        self._saved_at_s = time.monotonic()
        self._saved_at_step = trainer.global_step
        self._watch.start()

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        """Save between two steps, if it is time or the run shall stop; called by Lightning.

        Raises:
            Stopped: if any rank was asked to stop.
        """
        if batch_idx % trainer.accumulate_grad_batches:
            return
        due = self._due(trainer.global_step, first_of_epoch=batch_idx == 0)
        wish = self._agreed(_SAVE if due else 0)
        if wish:
            self._save(trainer, "before batch")
        if wish > _SAVE:
            raise Stopped(wish)

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save what was trained before it is measured; called by Lightning."""
        if _fitting(trainer):
            self._save(trainer, "before validation")
            assert self._agreement is not None
            # Ranks may have one batch more or less; they can only vote as often as all can.
            self._votes_left = self._agreement.lowest(int(sum(trainer.num_val_batches)))

    def on_validation_batch_start(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Stop in the midst of a validation, which a resumed run begins anew.

        Raises:
            Stopped: if any rank was asked to stop.
        """
        if _fitting(trainer) and self._votes_left > 0:
            self._votes_left -= 1
            if signum := self._agreed(0):
                raise Stopped(signum)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save what has been measured; called by Lightning after the other callbacks."""
        if _fitting(trainer):
            self._save(trainer, "after validation")

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stop before the final evaluation, if so asked; called by Lightning.

        Raises:
            Stopped: if any rank was asked to stop.
        """
        if signum := self._agreed(0):
            raise Stopped(signum)

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Leave signals alone again; called by Lightning, also after an exception."""
        self._watch.stop()

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        """Leave signals alone again; called by Lightning."""
        self._watch.stop()

    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Write down where in the run this is, and how far its logs are; called by Lightning."""
        steps = steps_logged(checkpoint)
        if self._moment == "before batch":
            as_between_batches(checkpoint, trainer)
        elif self._moment == "before validation":
            as_before_validation(checkpoint)
        rows = None
        for logger in trainer.loggers:
            logger.save()  # what is logged so far is not repeated after a resume
            if isinstance(logger, RunCSVLogger) and trainer.is_global_zero:
                rows = logger.rows()
        checkpoint["fcos_logged"] = {
            "csv_rows": rows,
            "steps": steps + (self._moment != "before batch"),
        }

    def _save(self, trainer: L.Trainer, moment: _Moment) -> None:
        self._moment = moment
        try:
            trainer.save_checkpoint(self.file)
        finally:
            self._moment = "elsewhere"
        self._saved_at_s = time.monotonic()
        self._saved_at_step = trainer.global_step

    def _due(self, step: int, first_of_epoch: bool) -> bool:
        if step == self._saved_at_step:
            return False
        if first_of_epoch:  # the epoch before had no validation
            return True
        waited_s = time.monotonic() - self._saved_at_s
        by_time = self.every_n_minutes is not None and waited_s >= 60 * self.every_n_minutes
        by_steps = self.every_n_steps is not None and step % self.every_n_steps == 0
        return by_time or by_steps

    def _agreed(self, wish: int) -> int:
        """Return what any rank wants most: a signal to stop, or else to save."""
        assert self._agreement is not None
        return self._agreement.highest(self._watch.received or wish)


def _fitting(trainer: L.Trainer) -> bool:
    return trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking
