"""One number for class and quality: the losses of GFL, TAL and DSLA."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from fcos_lightning.boxes import IoUKind, iou_of_ltrb
from fcos_lightning.detector.heads.distribution import DistributionPrediction
from fcos_lightning.detector.losses.distribution import distribution_focal_sum
from fcos_lightning.detector.losses.focal import quality_focal_sum
from fcos_lightning.detector.parts import Loss
from fcos_lightning.detector.rows import (
    rows_that_count,
    spread,
    taken,
    taken_of_each_image,
)
from fcos_lightning.structures import Assignment, Losses, Points, Prediction, Totals


@dataclass(frozen=True)
class QualityFocalLoss(Loss):
    """A point's class probability says how well its box fits (arXiv 2006.04388).

    Terms: ``cls``, quality focal loss over all points and classes. ``box``, 1 - IoU of one kind or
    another over the positives. ``sides``, where the head predicts distributions, the distribution
    focal loss of the positives. The latter two are weighted by the positives' weights and divided
    by their sum; without weights each is a whole one.

    Args:
        goal: of the class of a positive. ``overlap``: of the box it predicts, and ``cls`` is
            divided by the number of positives (GFL); ``weight``: its weight, and so is the sum of
            these (TAL, DSLA).
        beta: how strongly easy examples are faded out.
        box_loss: the kind of overlap; ``iou`` is 1 - IoU.
        box_factor: of ``box`` in the sum.
        sides_factor: of ``sides`` in the sum; 0: there is no such term.

    Raises:
        UserError: if a number is below 0, or ``beta`` between 0 and 1.
    """

    name: ClassVar[str] = "quality_focal"

    goal: Literal["overlap", "weight"] = "overlap"
    beta: float = 2.0
    box_loss: IoUKind = "giou"
    box_factor: float = 2.0
    sides_factor: float = 0.25

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_at_least(box_factor=0, sides_factor=0)
        # In between, its slope would be without bound where the probability is right.
        self.require("beta", self.beta == 0 or self.beta >= 1, "1 or more, or 0")

    def totals(self, assignment: Assignment) -> dict[str, Tensor]:
        """Sum the ``weight`` of the positives, and count the ``positives`` where they divide."""
        sums = {"weight": _weight(assignment).sum()}
        if self.goal == "overlap":
            sums["positives"] = assignment.positive.sum().float()
        return sums

    def __call__(
        self,
        prediction: Prediction,
        assignment: Assignment,
        points: Points,
        totals: Totals | None = None,
    ) -> Losses:
        """Return the losses of a batch, scalars.

        Args:
            prediction: what the head says at each point.
            assignment: what it should say.
            points: for their strides.
            totals: what to divide by, no less than 1; with ``moving_positives`` beside
                ``positives`` the classification loss is divided by that.
        """
        with torch.autocast(prediction.cls_logits.device.type, enabled=False):
            totals = totals or Totals(self.totals(assignment))
            positive, weight = assignment.positive, _weight(assignment)
            rows = rows_that_count(positive.flatten())
            # Background rows get a harmless pair of equal boxes: no NaN, no gradient.
            counts = taken(positive.flatten(), rows)[:, None]
            strides = taken_of_each_image(points.stride, rows, len(weight))[:, None]
            predicted, target = (
                torch.where(counts, _planes(taken(ltrb.flatten(0, 1), rows).float()) / strides, 1)
                for ltrb in (prediction.ltrb_px, assignment.ltrb_px)
            )
            overlap = iou_of_ltrb(predicted, target, self.box_loss)

            total_weight = totals.share("weight", at_least=1.0)
            goal, divisor = weight, total_weight
            if self.goal == "overlap":
                plain = overlap if self.box_loss == "iou" else iou_of_ltrb(predicted, target)
                goal = spread(plain.detach(), rows, weight.shape)
                divisor = totals.positives_for_classes(at_least=1.0)
            cls = quality_focal_sum(
                prediction.cls_logits, assignment.labels, goal, self.beta, assignment.ignored
            )
            box = ((1 - overlap) * taken(weight.flatten(), rows)).sum() / total_weight
            terms = {
                "cls": cls / divisor,
                "box": self.box_factor * box,
            }
            if self.sides_factor and isinstance(prediction, DistributionPrediction):
                steps = spread(target, rows, assignment.ltrb_px.shape)
                sides = distribution_focal_sum(prediction.side_logits, steps, weight)
                terms["sides"] = self.sides_factor * sides / total_weight
            return Losses(terms)


def _weight(assignment: Assignment) -> Tensor:
    """Return how much of a positive each point is, ``[B, P]`` float32."""
    if assignment.weight is not None:
        return assignment.weight
    return assignment.positive.float()


def _planes(ltrb: Tensor) -> Tensor:
    """Return ``[N, 4]`` with each of the four in a row of memory, as FCOS's loss does."""
    return ltrb.movedim(-1, 0).contiguous().movedim(0, -1)
