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
    as_after_epoch,
    as_after_validation,
    as_before_validation,
    as_between_batches,
    steps_logged,
)
from fcos_lightning.signals import SignalWatch, Stopped
from fcos_lightning.storage.replacing import remove_drafts
from fcos_lightning.storage.run_folder import RunFolder
from fcos_lightning.structures import Batch
from fcos_lightning.training.loggers.csv_log import RunCSVLogger
from fcos_lightning.training.ranks.agreement import Agreement

_SAVE = 1  # below every signal's number, so that the highest wish of all ranks is what is done


_Moment = Literal[
    "before batch", "before validation", "after validation", "after epoch", "elsewhere"
]
#: In a checkpoint: whether the run was over before its schedule, as early stopping has it.
_OVER = "fcos_over"


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
        self._first = True  # whether no step was done by this process yet

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Clear what a killed process left half written; called by Lightning."""
        if trainer.is_global_zero:
            remove_drafts(self.file.parent)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Begin to listen for signals; called by Lightning."""
        self._agreement = Agreement(trainer.world_size)
        self._saved_at_s = time.monotonic()
        self._saved_at_step = trainer.global_step
        self._first = True
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
        wish = self._agreed(_SAVE if self._due(trainer.global_step) else 0)
        if wish:
            self._save(trainer, "before batch")
        if wish > _SAVE:
            raise Stopped(wish)
        # Before the first step of this process there is nothing to keep, and the step may take
        # minutes, in which torch.compile translates it.
        self._watch.at_once = self._first and trainer.world_size == 1

    def on_train_batch_end(self, trainer: L.Trainer, *_: object) -> None:
        """From now on there is something to keep; called by Lightning."""
        self._first = self._watch.at_once = False

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
        """Save what has been measured; called by Lightning after the other callbacks.

        At the end of an epoch the best checkpoint is kept only later, with figures that no
        checkpoint holds: until then, a run that is killed measures again.
        """
        if _fitting(trainer) and not trainer.is_last_batch:
            self._save(trainer, "after validation")

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save what an epoch came to; called by Lightning after the other callbacks."""
        self._save(trainer, "after epoch")

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
        elif self._moment == "after validation":
            as_after_validation(checkpoint)
        elif self._moment == "after epoch":
            as_after_epoch(checkpoint, trainer)
            checkpoint[_OVER] = bool(trainer.should_stop)
        rows = None
        for logger in trainer.loggers:
            logger.save()  # what is logged so far is not repeated after a resume
            if isinstance(logger, RunCSVLogger) and trainer.is_global_zero:
                rows = logger.rows()
        counted = self._moment in ("before batch", "after epoch")
        checkpoint["fcos_logged"] = {"csv_rows": rows, "steps": steps + (not counted)}

    def on_load_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Train no further where the run was over; called by Lightning."""
        if checkpoint.get(_OVER) is True:
            trainer.should_stop = True

    def _save(self, trainer: L.Trainer, moment: _Moment) -> None:
        self._moment = moment
        try:
            trainer.save_checkpoint(self.file)
        finally:
            self._moment = "elsewhere"
        self._saved_at_s = time.monotonic()
        self._saved_at_step = trainer.global_step

    def _due(self, step: int) -> bool:
        if step == self._saved_at_step:
            return False
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
