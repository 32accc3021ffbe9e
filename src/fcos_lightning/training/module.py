"""The LightningModule: wires detector, schedule and logging, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor

from fcos_lightning.checkpoints.native import KEY, describe
from fcos_lightning.detector import DenseDetector
from fcos_lightning.structures import Assignment, Batch, Detections, Losses, Points, Totals
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
        detector: DenseDetector,
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
        self._totals: Totals | None = None

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Make what is random, as dropout in a backbone, depend on seed, batch and rank alone.

        A resumed run then repeats it; checkpoints hold no state of generators.
        """
        place = [self.seed, self.current_epoch, batch_idx, self.global_rank]
        torch.manual_seed(int(np.random.SeedSequence(place).generate_state(1)[0]))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a batch."""
        points = self.detector.grid(batch.images)
        prediction = self.detector(batch.images)
        assignment = self.detector.assign(points, batch.targets, prediction)
        totals = self.over_the_whole_step(assignment, batch, batch_idx)
        losses = self.detector.loss(prediction, assignment, points, totals)

        self.last_step = StepRecord(losses, assignment, points, batch)
        shown = {"loss": losses.total, **losses.terms}
        self.log_dict(_named(shown), prog_bar=True, batch_size=len(batch))
        self.log_dict(_named(losses.monitors), batch_size=len(batch))
        return losses.total

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, list[Detections]]:
        """Return the ``detections`` of a batch in pixels of the original images."""
        points = self.detector.grid(batch.images)
        prediction = self.detector(batch.images)
        found = self.detector.decode(prediction, points, batch.images.sizes_hw)
        sizes = zip(found, batch.images.sizes_hw, batch.original_sizes_hw, strict=True)
        return {"detections": [in_original_frame(*one) for one in sizes]}

    def over_the_whole_step(
        self, assignment: Assignment, batch: Batch, batch_idx: int = 0
    ) -> Totals:
        """Return what the losses of an optimiser step are divided by.

        The sums over all ranks and all accumulated batches, so that the gradients are those of one
        device with one large batch. Every rank takes part, also one without a positive. Of an
        assigner that looks at predictions there is nothing to be said of the batches that follow:
        it has each accumulated batch by itself.

        Args:
            assignment: of this rank's batch.
            batch: that batch; the first of a step knows the targets of those that follow.
            batch_idx: its number in the epoch.
        """
        each_alone = self.detector.assigner.needs_prediction
        accumulated = self.trainer.accumulate_grad_batches
        if self._totals is not None and batch_idx % accumulated and not each_alone:
            return self._totals
        sums = self.detector.loss.totals(assignment)
        for other in () if each_alone else batch.rest_of_step:
            following = self.detector.assign(self.detector.grid(other), other.targets)
            more = self.detector.loss.totals(following)
            sums = {name: value + more[name] for name, value in sums.items()}
        if sums:  # in one message for all
            stacked = self.trainer.strategy.reduce(
                torch.stack(list(sums.values())), reduce_op="sum"
            )
            sums = dict(zip(sums, stacked.unbind(), strict=True))
        batches = self.trainer.world_size * (1 if each_alone else accumulated)
        totals = Totals(sums, batches)
        self._totals = totals if self.moving_positives is None else self.moving_positives(totals)
        return self._totals

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


def _named(scalars: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Scalars of a training step as logs name them."""
    return {f"train/{name}": value for name, value in scalars.items()}


def in_original_frame(
    detections: Detections, resized_hw: Tensor, original_hw: Tensor
) -> Detections:
    """Map boxes from pixels of the resized image to pixels of the original one."""
    factor = (original_hw / resized_hw).flip(0).repeat(2).to(detections.boxes_xyxy)
    return Detections(detections.boxes_xyxy * factor, detections.scores, detections.labels)
