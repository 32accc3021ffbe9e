"""The LightningModule: wires detector, schedule and logging, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor

from fcos_lightning.checkpoints import describe, load_detector
from fcos_lightning.checkpoints.native import KEY
from fcos_lightning.detector import DenseDetector
from fcos_lightning.structures import Assignment, Batch, Detections, Losses, Points, Totals
from fcos_lightning.training.callbacks.figures import Evaluation
from fcos_lightning.training.length import total_steps
from fcos_lightning.training.moving_positives import MovingPositives
from fcos_lightning.training.ranks.step_totals import totals_of_step
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
        return {"detections": [one.resized(seen, original) for one, seen, original in sizes]}

    test_step = validation_step

    def predict_step(self, batch: Batch, batch_idx: int) -> list[Detections]:
        """Return the detections of a batch in pixels of the original images, with their names."""
        found = self.validation_step(batch, batch_idx)["detections"]
        names = self.detector.class_names
        return [replace(one, class_names=None if names is None else tuple(names)) for one in found]

    def configure_callbacks(self) -> list[L.Callback]:
        """Measure what is found where nobody else does; called by Lightning."""
        measured = any(isinstance(one, Evaluation) for one in self.trainer.callbacks)  # type: ignore[attr-defined]  # set in its constructor
        return [] if measured else [Evaluation()]

    def over_the_whole_step(
        self, assignment: Assignment, batch: Batch, batch_idx: int = 0
    ) -> Totals:
        """Return what the losses of an optimiser step are divided by, see ``totals_of_step``."""
        detector = self.detector
        inside = batch_idx % self.trainer.accumulate_grad_batches > 0
        if self._totals is None or not inside or detector.assigner.needs_prediction:
            totals = totals_of_step(detector, assignment, batch, self.trainer)
            moving = self.moving_positives
            self._totals = totals if moving is None else moving(totals)
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

    @classmethod
    def load_from_checkpoint(  # type: ignore[override]  # a file, on one device
        cls,
        checkpoint_path: str | Path,
        map_location: torch.device | str | None = None,
        **options: Any,  # noqa: ANN401  # of the constructor
    ) -> FCOSModule:
        """Return a module with the detector of a checkpoint, see ``load_detector``."""
        return cls(load_detector(checkpoint_path, device=map_location or "cpu"), **options)


def _named(scalars: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Scalars of a training step as logs name them."""
    return {f"train/{name}": value for name, value in scalars.items()}
