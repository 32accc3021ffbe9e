"""Runs that go on from a checkpoint with something wrong in it."""

from __future__ import annotations

import copy
import logging
import random
import warnings
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.demos.boring_classes import BoringModel

from fcos_lightning.training.checkpoint_io import AtomicCheckpointIO
from fcos_lightning.training.resuming import CheckResumed, going_on_from
from hostile.mutations import change


class Model(BoringModel):
    """A single layer, with an optimiser that keeps a state and a schedule."""

    def configure_optimizers(self) -> Any:  # noqa: ANN401  # as Lightning has it
        """Return AdamW with a rate that halves."""
        optimizer = torch.optim.AdamW(self.parameters(), lr=0.1)
        return [optimizer], [torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5**step)]

    def validation_step(self, batch: torch.Tensor, batch_idx: int) -> None:
        """Log the loss, of which the best is kept."""
        self.log("loss", self.step(batch))


def fit(folder: Path, epochs: int, resume: Path | None = None) -> L.Trainer:
    """Train for so many epochs of two steps, from a checkpoint or from the beginning."""
    torch.manual_seed(0)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    trainer = L.Trainer(
        default_root_dir=folder,
        max_epochs=epochs,
        limit_train_batches=2,
        limit_val_batches=1,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[CheckResumed(), ModelCheckpoint(folder, monitor="loss", save_last=True)],
        plugins=[AtomicCheckpointIO()],
    )
    with warnings.catch_warnings(), going_on_from(resume):
        warnings.simplefilter("ignore")  # Lightning's remarks on folders that are there
        trainer.fit(Model(), ckpt_path=resume)
    return trainer


def mutated(whole: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    """Return a copy of a run's checkpoint with something wrong in it."""
    tree = copy.deepcopy(whole)
    for _ in range(rng.choice((1, 1, 2))):
        change(tree, rng.choice((*whole, None)), rng, ("step", "extra", 5))
    return tree
