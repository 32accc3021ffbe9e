"""The LightningModule: wires detector, schedule and logging, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor

from fcos_lightning.checkpoints.native import KEY, describe
from fcos_lightning.detector import FCOS
from fcos_lightning.structures import Assignment, Batch, Detections, Losses, Normalisers, Points
from fcos_lightning.training.length import total_steps
from fcos_lightning.training.normaliser import MovingPositives
from fcos_lightning.training.schedule import Schedule


@dataclass(frozen=True, eq=False)
class StepRecord:
    """What callbacks may want to know of the training step that just ran."""

    losses: Losses
    assignment: Assignment
    points: Points
    batch: Batch


class FCOSModule(L.LightningModule):
    """Trains a detector.

    Args:
        detector: what is trained.
        schedule: how long and how fast; None where nothing is trained.
        batch_size: images of a batch over all devices.
        description: plain values that a checkpoint shall carry beside the detector's own.
        seed: of anything random in the detector.
        moving_positives: divides the classification loss; None: the positives of the step do.
    """

    def __init__(
        self,
        detector: FCOS,
        schedule: Schedule | None = None,
        batch_size: int = 16,
        description: dict[str, Any] | None = None,
        seed: int = 0,
        moving_positives: MovingPositives | None = None,
    ) -> None:
        super().__init__()
        self.detector = detector
        self.schedule = schedule
        self.batch_size = batch_size
        self.description = description or {}
        self.seed = seed
        self.moving_positives = moving_positives
        self.last_step: StepRecord | None = None
        self._step_normalisers: Normalisers | None = None

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Make what is random, as dropout in a backbone, depend on seed, batch and rank alone.

        A resumed run then repeats it; checkpoints hold no state of generators.
        """
        place = [self.seed, self.current_epoch, batch_idx, self.global_rank]
        torch.manual_seed(int(np.random.SeedSequence(place).generate_state(1)[0]))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a batch."""
        points = self.detector.points(batch.images.padded_size)
        prediction = self.detector(batch.images)
        assignment = self.detector.assign(points, batch.targets)
        if batch_idx % self.trainer.accumulate_grad_batches == 0:
            self._step_normalisers = self.normalisers_of_step(batch, assignment)
        assert self._step_normalisers is not None
        normalisers = self._step_normalisers
        losses = self.detector.loss(prediction, assignment, points, normalisers)

        self.last_step = StepRecord(losses, assignment, points, batch)
        shown = {
            "train/loss": losses.total,
            "train/cls": losses.classification,
            "train/box": losses.box,
            "train/quality": losses.quality,
        }
        self.log_dict(shown, prog_bar=True, batch_size=len(batch))
        self.log("train/quality_excess", losses.quality_excess, batch_size=len(batch))
        return losses.total

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, list[Detections]]:
        """Return the ``detections`` of a batch in pixels of the original images."""
        points = self.detector.points(batch.images.padded_size)
        prediction = self.detector(batch.images)
        found = self.detector.decode(prediction, points, batch.images.sizes_hw)
        sizes = zip(found, batch.images.sizes_hw, batch.original_sizes_hw, strict=True)
        return {"detections": [one.resized(seen, original) for one, seen, original in sizes]}

    def normalisers_of_step(self, batch: Batch, assignment: Assignment) -> Normalisers:
        """Return this batch's share of what the losses of an optimiser step are divided by.

        The totals over all ranks and all accumulated batches, divided by the number of those, so
        that the gradients are those of one device with one large batch. Every rank takes part,
        also one without a positive.

        Args:
            batch: the first of the step on this rank.
            assignment: of that batch.
        """
        own = self.detector.normalisers(assignment)
        totals = torch.stack([own.positives, own.quality])
        for other in batch.rest_of_step:
            points = self.detector.points(other.padded_size)
            following = self.detector.normalisers(self.detector.assign(points, other.targets))
            totals = totals + torch.stack([following.positives, following.quality])
        totals = self.trainer.strategy.reduce(totals, reduce_op="sum")
        share = self.trainer.world_size * self.trainer.accumulate_grad_batches
        positives, quality = totals.unbind()
        moving = None
        if self.moving_positives is not None:
            moving = self.moving_positives(positives).clamp(min=1.0) / share
        return Normalisers(positives.clamp(min=1.0) / share, quality / share, moving)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Return optimiser and learning rate; called by Lightning."""
        if self.schedule is None:
            raise RuntimeError("this module was made for evaluation: it has no schedule")
        images_per_step = self.batch_size * self.trainer.accumulate_grad_batches
        optimizer, scheduler = self.schedule.configure(
            self.detector, images_per_step, total_steps(self.trainer)
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the description of the detector; called by Lightning."""
        checkpoint[KEY] = describe(self.detector, **self.description)
