"""The LightningModule: wires detector, schedule and logging, and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import lightning as L
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor

from fcos_lightning.checkpoints.native import KEY, describe
from fcos_lightning.detector import FCOS
from fcos_lightning.structures import Assignment, Batch, Detections, Losses, Normalisers, Points
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
    """

    def __init__(
        self,
        detector: FCOS,
        schedule: Schedule | None = None,
        batch_size: int = 16,
        description: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.detector = detector
        self.schedule = schedule
        self.batch_size = batch_size
        self.description = description or {}
        self.last_step: StepRecord | None = None

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a batch."""
        points = self.detector.points(batch.images.padded_size)
        prediction = self.detector(batch.images)
        assignment = self.detector.assign(points, batch.targets)
        normalisers = self.averaged_over_ranks(self.detector.normalisers(assignment))
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
        return {"detections": [in_original_frame(*one) for one in sizes]}

    def averaged_over_ranks(self, normalisers: Normalisers) -> Normalisers:
        """Average what the losses are divided by, so that AP does not depend on the devices.

        Every rank takes part, also one without a positive.
        """
        if self.trainer.world_size == 1:
            return normalisers
        both = torch.stack([normalisers.positives, normalisers.quality])
        positives, quality = self.trainer.strategy.reduce(both, reduce_op="mean").unbind()
        return Normalisers(positives, quality)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Return optimiser and learning rate; called by Lightning."""
        if self.schedule is None:
            raise RuntimeError("this module was made for evaluation: it has no schedule")
        optimizer, scheduler = self.schedule.configure(
            self.detector, self.batch_size, int(self.trainer.estimated_stepping_batches)
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the description of the detector; called by Lightning."""
        checkpoint[KEY] = describe(self.detector, **self.description)


def in_original_frame(
    detections: Detections, resized_hw: Tensor, original_hw: Tensor
) -> Detections:
    """Map boxes from pixels of the resized image to pixels of the original one."""
    factor = (original_hw / resized_hw).flip(0).repeat(2).to(detections.boxes_xyxy)
    return Detections(detections.boxes_xyxy * factor, detections.scores, detections.labels)
