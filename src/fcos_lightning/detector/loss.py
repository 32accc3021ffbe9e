"""Prediction + Assignment + normalisers -> Losses.

Everything is dense over the points and masked, so that shapes do not depend on the data, and in
float32 whatever the autocast.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from fcos_lightning.boxes import IoUKind, centerness, iou_of_ltrb
from fcos_lightning.detector.focal import sigmoid_focal_sum
from fcos_lightning.structures import Assignment, Losses, Normalisers, Points, Prediction

BoxLoss = Literal["iou", "linear_iou", "giou", "diou", "ciou"]


def normalisers_of(assignment: Assignment) -> Normalisers:
    """Count the positives of a batch and sum their centerness targets."""
    return Normalisers(
        positives=assignment.positive.sum().float(),
        quality=_centerness_targets(assignment).sum(),
    )


def fcos_loss(
    prediction: Prediction,
    assignment: Assignment,
    points: Points,
    normalisers: Normalisers | None = None,
    *,
    box_loss: BoxLoss = "giou",
    box_epsilon: Literal["official", "plain"] = "official",
    box_units: Literal["strides", "pixels"] = "strides",
    box_weight: Literal["centerness", "none"] = "centerness",
    quality: Literal["centerness", "iou", "none"] = "centerness",
    focal_alpha: float = 0.25,
    focal_gamma: float = 2.0,
) -> Losses:
    """Return the three losses of a batch, scalars.

    Classification: focal loss over all points and classes, divided by the number of positives
    (paper, eq. 2). Box: 1 - IoU of one kind or another over the positives, weighted by their
    centerness and divided by its sum (official code). Quality: binary cross-entropy of the
    centerness over the positives, divided by their number.

    Args:
        prediction: what the head says at each point.
        assignment: what it should say.
        points: the points, for their strides.
        normalisers: what to divide by, averaged over ranks; None: those of this batch.
        box_loss: ``iou`` is ``-log(IoU)`` (the paper's first version), ``linear_iou`` is
            ``1 - IoU``, then GIoU, DIoU, CIoU.
        box_epsilon: ``official`` adds 1 to intersection and union in whatever unit the distances
            have, which is a large bias for small boxes; ``plain`` adds only 1e-7 to the union.
        box_units: of the distances when the IoU is taken; matters only beside ``official``. The
            official plain recipe uses pixels, all later ones strides.
        box_weight: ``centerness`` weighs the box loss of each point by its target and divides by
            the sum of these; ``none`` divides by the number of positives (torchvision,
            detectron2).
        quality: ``centerness``, or ``iou``: the IoU of the predicted box (AdelaiDet's
            ``BOX_QUALITY``; the box loss is then not weighted), or ``none``: no such loss, and no
            weights (the paper's first ablation).
        focal_alpha: weight of positives in the focal loss.
        focal_gamma: how strongly easy examples are faded out.

    Raises:
        ValueError: if ``box_loss`` is none of the five.
    """
    with torch.autocast(prediction.cls_logits.device.type, enabled=False):
        normalisers = normalisers or normalisers_of(assignment)
        # Without positives every term below is zero; dividing by 1 keeps it so, and the graph.
        # A share of a total over ranks may well be below 1.
        positives = torch.where(normalisers.positives > 0, normalisers.positives, 1.0)
        positive = assignment.positive

        classification = sigmoid_focal_sum(
            prediction.cls_logits, assignment.labels, focal_alpha, focal_gamma
        )

        # Background rows get a harmless pair of equal boxes: no NaN, no gradient.
        unit = points.stride[:, None] if box_units == "strides" else 1.0
        predicted = torch.where(positive[..., None], _planes(prediction.ltrb_px.float()) / unit, 1)
        target = torch.where(positive[..., None], _planes(assignment.ltrb_px) / unit, 1)
        box_per_point = _box_loss(predicted, target, box_loss, 1.0 * (box_epsilon == "official"))

        if quality == "centerness":
            quality_target = _centerness_targets(assignment)
        else:
            quality_target = torch.where(positive, iou_of_ltrb(predicted, target), 0.0).detach()
        if quality == "centerness" and box_weight == "centerness":
            weight, box_normaliser = quality_target, normalisers.quality.clamp(min=1e-6)
        else:
            weight, box_normaliser = positive.float(), positives
        box = (box_per_point * weight).sum() / box_normaliser

        learning = positive & (quality != "none")
        quality_sum = F.binary_cross_entropy_with_logits(
            prediction.quality_logits.float(),
            quality_target,
            weight=learning.float(),
            reduction="sum",
        )
        entropy = _binary_entropy(quality_target).mul(learning).sum()
        return Losses(
            classification=classification
            / (positives if normalisers.classification is None else normalisers.classification),
            box=box,
            quality=quality_sum / positives,
            quality_excess=(quality_sum.detach() - entropy) / positives,
        )


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
    if kind not in kinds:
        raise ValueError(f"box_loss must be one of {', '.join(kinds)}, not {kind!r}")
    overlap = iou_of_ltrb(predicted, target, kinds[kind], area_offset)
    return -overlap.clamp(min=1e-6).log() if kind == "iou" else 1 - overlap


def _binary_entropy(probability: Tensor) -> Tensor:
    """Cross-entropy of soft targets with themselves: what their loss cannot fall below."""
    entropy: Tensor = torch.special.entr(probability) + torch.special.entr(1 - probability)
    return entropy
