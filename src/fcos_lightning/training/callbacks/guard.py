"""Stops a run whose loss is no longer a number, before it can spoil anything."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import lightning as L
import torch
import torch.distributed as dist
from torch import Tensor

from fcos_lightning.errors import SharedError
from fcos_lightning.storage.run_folder import RunFolder
from fcos_lightning.training.module import FCOSModule
from fcos_lightning.training.replay import save_replay


class NonFiniteLoss(SharedError):
    """The loss, or a weight, became NaN or infinite."""


class StopOnNonFinite(L.Callback):
    """Looks at the loss of each step before the weights learn from it, and at what is saved.

    All ranks stop at the same step, so none is left waiting for another. No checkpoint has seen a
    bad step: one whose loss is a number may still have gradients that are none, and spoil the
    weights, so these are looked at before they are saved.

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
            NonFiniteLoss: naming the step, the term and the images, on all ranks alike.
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
        said = ""
        if terms:
            kept = ""
            if self.folder is not None:
                file = RunFolder(self.folder).nonfinite(trainer.global_rank)
                save_replay(file, pl_module.detector, batch.images, batch.targets, batch.image_ids)
                kept = f"; {file} holds the step for another look"
            where = f" on rank {trainer.global_rank}" if trainer.world_size > 1 else ""
            already = "" if _finite(pl_module.parameters()) else self._spoilt(trainer)
            said = (
                f"loss is not finite at step {trainer.global_step}{where}: {', '.join(terms)}; "
                f"images {batch.image_ids.tolist()}{already}; {self._intact()}; "
                f"try a lower schedule.lr or trainer.gradient_clip_val=10, and look at these "
                f"images{kept}"
            )
        raise NonFiniteLoss(_first_said(said, trainer))

    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Keep what is no number out of every checkpoint; called by Lightning on all ranks.

        Raises:
            NonFiniteLoss: naming the step, before anything is written.
        """
        bad = torch.tensor(float(not _finite(_tensors(checkpoint))), device=pl_module.device)
        if trainer.world_size > 1:
            bad = trainer.strategy.reduce(bad, reduce_op="sum")
        if bad.item():
            raise NonFiniteLoss(
                f"the weights are not finite after step {trainer.global_step}: a gradient of a "
                f"step before was not, though its loss was; they are not saved; {self._intact()}; "
                "try a lower schedule.lr or trainer.gradient_clip_val=10"
            )

    def _spoilt(self, trainer: L.Trainer) -> str:
        return (
            f"; some weights were not finite before, since a gradient of step "
            f"{max(trainer.global_step - 1, 0)} or earlier was not"
        )

    def _intact(self) -> str:
        """Say which checkpoints there are; none of them has seen the bad step."""
        folder = None if self.folder is None else RunFolder(self.folder)
        if folder is None or not folder.last.is_file():
            return "there is no checkpoint yet"
        return f"{folder.last} of before is intact"


def _tensors(checkpoint: dict[str, Any]) -> Iterator[Tensor]:
    """Weights, their average, and what the optimisers know."""
    for key in ("state_dict", "current_model_state"):
        yield from (one for one in checkpoint.get(key, {}).values() if isinstance(one, Tensor))
    for optimizer in checkpoint.get("optimizer_states", ()):
        for state in optimizer.get("state", {}).values():
            yield from (one for one in state.values() if isinstance(one, Tensor))


def _finite(tensors: Iterable[Tensor]) -> bool:
    flags = [torch.isfinite(one.detach()).all() for one in tensors if one.is_floating_point()]
    return not flags or bool(torch.stack([flag.cpu() for flag in flags]).all())


def _first_said(said: str, trainer: L.Trainer) -> str:
    """Return what the lowest of the ranks that have something to say says."""
    if trainer.world_size == 1:
        return said
    everywhere: list[str] = [""] * trainer.world_size
    dist.all_gather_object(everywhere, said)
    return next((one for one in everywhere if one), "loss is not finite")
