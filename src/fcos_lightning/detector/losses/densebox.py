"""DenseBox's losses: squared errors of probabilities and distances, hard background only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from fcos_lightning.detector.losses.mined import RowLoss, mined_sum
from fcos_lightning.detector.parts import Loss
from fcos_lightning.detector.rows import rows_that_count, taken
from fcos_lightning.structures import Assignment, Losses, Points, Prediction, Totals


@dataclass(frozen=True)
class DenseBoxLoss(Loss):
    """The two losses of DenseBox (arXiv 1509.04874, section 3.3).

    Terms: ``cls``, squared error of the probabilities, summed over the classes, of the positives
    and of the points of the background that have the largest, so many in each image. ``box``,
    squared error of the four distances of the positives. Both are divided by the number of
    positives.

    The paper has one class, no sigmoid, and draws half of its background by lot: here the hardest
    are all of it, so that no chance is in it. An image without a positive has as much background as
    one with one.

    Args:
        negatives: points of the background for each positive.
        box_weight: of ``box``.
        unit_px: of the distances, in pixels: the paper's objects are 50 pixels high.

    Raises:
        UserError: if a number is below 0, or the unit no length.
    """

    name: ClassVar[str] = "densebox"

    negatives: float = 1.0
    box_weight: float = 3.0
    unit_px: float = 50.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_at_least(negatives=0, box_weight=0)
        self.require("unit_px", self.unit_px > 0, "a number above 0")

    def totals(self, assignment: Assignment) -> dict[str, Tensor]:
        """Count the ``positives`` of a batch."""
        return {"positives": assignment.positive.sum().float()}

    def __call__(
        self,
        prediction: Prediction,
        assignment: Assignment,
        points: Points,
        totals: Totals | None = None,
    ) -> Losses:
        """Return the losses of a batch, scalars; ``moving_positives`` count for ``cls``."""
        with torch.autocast(prediction.cls_logits.device.type, enabled=False):
            totals = totals or Totals(self.totals(assignment))
            cls = mined_sum(
                SquaredError(),
                prediction.cls_logits,
                assignment.labels,
                self.negatives,
                assignment.ignored,
            )
            rows = rows_that_count(assignment.positive.flatten())
            positive = taken(assignment.positive.flatten(), rows)[:, None]
            target = taken(assignment.ltrb_px.flatten(0, 1), rows)
            # Background rows get a harmless pair of equal numbers: no NaN, no gradient.
            predicted = taken(prediction.ltrb_px.flatten(0, 1), rows).float()
            predicted = torch.where(positive, predicted, target)
            box = ((predicted - target) / self.unit_px).square().sum()
            positives = totals.share("positives", at_least=1.0)
            return Losses(
                {
                    "cls": cls / totals.positives_for_classes(at_least=1.0),
                    "box": self.box_weight * box / positives,
                }
            )


class SquaredError(RowLoss):
    """Of the probabilities of all classes, each a sigmoid of its own, from 1 or 0."""

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the sum over the classes."""
        probability = logits.sigmoid()
        right = probability.gather(1, labels.clamp(min=0)[:, None]).squeeze(1)
        # (1 - p)^2 in place of p^2.
        return probability.square().sum(dim=1) + torch.where(labels >= 0, 1 - 2 * right, 0.0)

    def loss_and_slope(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the same, and ``2 (p - y) p (1 - p)``."""
        probability = logits.sigmoid()
        one = -(labels >= 0).to(probability.dtype)[:, None]
        error = probability.scatter_add(1, labels.clamp(min=0)[:, None], one)
        loss = error.square().sum(dim=1)
        return loss, error.mul_(2).mul_(probability).mul_(1 - probability)
