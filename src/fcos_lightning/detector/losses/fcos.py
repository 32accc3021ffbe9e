"""Prediction + Assignment + totals -> Losses.

Everything is dense over the points and masked, so that shapes do not depend on the data, and in
float32 whatever the autocast.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from fcos_lightning.boxes import IoUKind, centerness, iou_of_ltrb
from fcos_lightning.detector.losses.focal import sigmoid_focal_sum
from fcos_lightning.detector.parts import Loss
from fcos_lightning.structures import Assignment, Losses, Points, Prediction, Totals

BoxLoss = Literal["iou", "linear_iou", "giou", "diou", "ciou"]


@dataclass(frozen=True)
class FCOSLoss(Loss):
    """The three losses of FCOS.

    Terms: ``cls``, focal loss over all points and classes, divided by the number of
    positives (paper, eq. 2). ``box``, 1 - IoU of one kind or another over the positives, weighted
    by their centerness and divided by its sum (official code). ``quality``, binary cross-entropy
    of the centerness over the positives, divided by their number; not there where the head
    predicts no quality. Monitors: ``quality_excess``, the latter less the entropy of its soft
    targets: the cross-entropy cannot fall below that, this goes to zero.

    Args:
        box_loss: ``iou`` is ``-log(IoU)`` (the paper's first version), ``linear_iou`` is
            ``1 - IoU``, then GIoU, DIoU, CIoU.
        box_epsilon: ``official`` adds 1 to intersection and union in whatever unit the distances
            have, which is a large bias for small boxes; ``plain`` adds only 1e-7 to the union. It
            holds for the target of ``quality: iou`` as well.
        box_units: of the distances when the IoU is taken; matters only beside ``official``. The
            official plain recipe uses pixels, all later ones strides.
        box_weight: ``centerness`` weighs the box loss of each point by its target and divides by
            the sum of these; ``none`` divides by the number of positives (torchvision,
            detectron2).
        quality: ``centerness``, or ``iou``: the IoU of the predicted box (AdelaiDet's
            ``BOX_QUALITY``; the box loss is then not weighted), or ``none``: no such loss, and no
            weights (the paper's first ablation).
        divide_by: the classification loss: by the ``positives``, or by the
            ``positives_and_images``, one more for each image (rosinality).
        focal_alpha: weight of positives in the focal loss.
        focal_gamma: how strongly easy examples are faded out.

    Raises:
        UserError: if an option is unknown or out of its range.
    """

    name: ClassVar[str] = "fcos"

    box_loss: BoxLoss = "giou"
    box_epsilon: Literal["official", "plain"] = "official"
    box_units: Literal["strides", "pixels"] = "strides"
    box_weight: Literal["centerness", "none"] = "centerness"
    quality: Literal["centerness", "iou", "none"] = "centerness"
    focal_alpha: float = 0.25
    focal_gamma: float = 2.0
    divide_by: Literal["positives", "positives_and_images"] = "positives"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("focal_alpha", 0 <= self.focal_alpha <= 1, "a number in [0, 1]")
        self.require_at_least(focal_gamma=0)

    def totals(self, assignment: Assignment) -> dict[str, Tensor]:
        """Count the ``positives`` of a batch and sum their centerness targets, ``quality``.

        Count its ``images`` as well, where they are divided by.
        """
        quality = _centerness_targets(assignment).sum()
        sums = {"positives": assignment.positive.sum().float(), "quality": quality}
        if self.divide_by == "positives_and_images":
            sums["images"] = torch.full_like(quality, len(assignment.labels))
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
            totals: what the method of that name gives; with ``moving_positives`` beside them the
                classification loss is divided by that in place of the positives.
        """
        with torch.autocast(prediction.cls_logits.device.type, enabled=False):
            totals = totals or Totals(self.totals(assignment))
            positives = totals.share("positives", at_least=1.0)
            positive = assignment.positive
            quality = "none" if prediction.quality_logits is None else self.quality

            classification = sigmoid_focal_sum(
                prediction.cls_logits,
                assignment.labels,
                self.focal_alpha,
                self.focal_gamma,
                assignment.ignored,
            )
            divisor = totals.positives_for_classes(at_least=1.0)
            if self.divide_by == "positives_and_images":
                divisor = totals.positives_for_classes() + totals.share("images")
            terms = {"cls": classification / divisor}

            # Background rows get a harmless pair of equal boxes: no NaN, no gradient.
            unit = points.stride[:, None] if self.box_units == "strides" else 1.0
            rows = positive[..., None]
            predicted = torch.where(rows, _planes(prediction.ltrb_px.float()) / unit, 1)
            target = torch.where(rows, _planes(assignment.ltrb_px) / unit, 1)
            offset = 1.0 * (self.box_epsilon == "official")
            box_per_point = _box_loss(predicted, target, self.box_loss, offset)

            if quality == "iou":
                overlap = iou_of_ltrb(predicted, target, "iou", offset)
                goal = torch.where(positive, overlap, 0.0).detach()
            else:
                goal = _centerness_targets(assignment)
            if quality == "centerness" and self.box_weight == "centerness":
                weight, box_normaliser = goal, totals.share("quality", at_least=1e-6)
            else:
                weight, box_normaliser = positive.float(), positives
            terms["box"] = (box_per_point * weight).sum() / box_normaliser
            if quality == "none" or prediction.quality_logits is None:
                return Losses(terms)

            cross_entropy = F.binary_cross_entropy_with_logits(
                prediction.quality_logits.float(), goal, weight=positive.float(), reduction="sum"
            )
            entropy = _binary_entropy(goal).mul(positive).sum()
            terms["quality"] = cross_entropy / positives
            excess = (cross_entropy.detach() - entropy) / positives
            return Losses(terms, {"quality_excess": excess})


def fcos_loss(
    prediction: Prediction,
    assignment: Assignment,
    points: Points,
    totals: Totals | None = None,
    **options: Any,  # noqa: ANN401  # the fields of FCOSLoss
) -> Losses:
    """Return what ``FCOSLoss(**options)`` does of these."""
    return FCOSLoss(**options)(prediction, assignment, points, totals)


def _centerness_targets(assignment: Assignment) -> Tensor:
    """Centerness of the positives, 0 elsewhere, ``[B, P]``."""
    positive = assignment.positive
    return torch.where(
        positive, centerness(torch.where(positive[..., None], assignment.ltrb_px, 1.0)), 0.0
    )


def _planes(ltrb: Tensor) -> Tensor:
    """Return ``[B, P, 4]`` with each of the four in a row of memory: sides are taken apart below.

    Arithmetic on a processor runs several times as fast over neighbours in memory.
    """
    return ltrb.movedim(-1, 0).contiguous().movedim(0, -1)


def _box_loss(predicted: Tensor, target: Tensor, kind: BoxLoss, area_offset: float) -> Tensor:
    """One number per point, ``[B, P]``, from distances ``[B, P, 4]``."""
    kinds: dict[BoxLoss, IoUKind] = {
        "iou": "iou",
        "linear_iou": "iou",
        "giou": "giou",
        "diou": "diou",
        "ciou": "ciou",
    }
    overlap = iou_of_ltrb(predicted, target, kinds[kind], area_offset)
    if kind != "iou":
        return 1 - overlap
    # With an offset it is never 0, and the official code has no bound either.
    return -(overlap if area_offset else overlap.clamp(min=1e-6)).log()


def _binary_entropy(probability: Tensor) -> Tensor:
    """Cross-entropy of soft targets with themselves: what their loss cannot fall below."""
    entropy: Tensor = torch.special.entr(probability) + torch.special.entr(1 - probability)
    return entropy
