"""Stops a run whose loss is no longer a number, before it can spoil anything."""

from __future__ import annotations

from pathlib import Path

import lightning as L
import torch
from torch import Tensor

from fcos_lightning.errors import UserError
from fcos_lightning.storage.run_folder import RunFolder
from fcos_lightning.training.module import FCOSModule
from fcos_lightning.training.replay import save_replay


class NonFiniteLoss(UserError):
    """The loss became NaN or infinite."""


class StopOnNonFinite(L.Callback):
    """Looks at the loss of each step before the weights learn from it.

    All ranks stop at the same step, so none is left waiting for another. Neither the weights nor
    the checkpoints have seen the bad step.

    Args:
        folder: gets ``nonfinite.pt`` (``nonfinite_rank1.pt``, ...) with weights and batch of the
            step, for ``fcos_lightning.training.replay.replay``; None: nothing is kept.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        self.folder = None if folder is None else Path(folder)
        self._bad = torch.zeros(())
        self._answered: torch.cuda.Event | None = None

    def on_before_backward(
        self, trainer: L.Trainer, pl_module: L.LightningModule, loss: Tensor
    ) -> None:
        """Ask whether the loss of every rank is finite; called by Lightning.

        The answer is awaited when the gradients have been ordered, so that a GPU has work while
        the processor waits for it.
        """
        bad = (~torch.isfinite(loss.detach())).float()
        if trainer.world_size > 1:
            bad = trainer.strategy.reduce(bad, reduce_op="sum")
        self._bad = bad.to("cpu", non_blocking=True)
        if bad.is_cuda:
            self._answered = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._answered.record()

    def on_after_backward(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stop if the loss of any rank is not finite; called by Lightning.

        Raises:
            NonFiniteLoss: naming the step, the term and the images.
        """
        if self._answered is not None:
            self._answered.synchronize()
        if not self._bad.item():
            return
        assert isinstance(pl_module, FCOSModule) and pl_module.last_step is not None
        losses, batch = pl_module.last_step.losses, pl_module.last_step.batch
        terms = [
            f"{name}={value.item()}"
            for name, value in {**losses.terms, "loss": losses.total}.items()
            if not torch.isfinite(value)
        ]
        kept = ""
        if self.folder is not None and not torch.isfinite(losses.total):
            file = RunFolder(self.folder).nonfinite(trainer.global_rank)
            save_replay(file, pl_module.detector, batch.images, batch.targets, batch.image_ids)
            kept = f"; {file} holds the step for another look"
        raise NonFiniteLoss(
            f"loss is not finite at step {trainer.global_step}: "
            f"{', '.join(terms) or 'on another rank'}; "
            f"images {batch.image_ids.tolist()}; the weights and checkpoints before it are intact; "
            "try a lower schedule.lr or trainer.gradient_clip_val=10, and look at these images"
            f"{kept}"
        )
