"""RetinaNet's losses: focal loss of all anchors, offsets of the positive ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import generalized_box_iou_loss

from fcos_lightning.boxes import ltrb_to_xyxy
from fcos_lightning.detector.heads.retinanet import AnchorPrediction
from fcos_lightning.detector.losses.focal import sigmoid_focal_sum
from fcos_lightning.detector.parts import Loss
from fcos_lightning.detector.rows import (
    rows_that_count,
    spread,
    taken,
    taken_of_each_image,
)
from fcos_lightning.structures import Assignment, Losses, Points, Prediction, Totals


@dataclass(frozen=True)
class RetinaNetLoss(Loss):
    """The two losses of RetinaNet (arXiv 1708.02002).

    Terms: ``cls``, focal loss over all anchors and classes but the ignored anchors. ``box``, of
    the positive anchors. Both are divided by the number of positives.

    Args:
        box_loss: ``l1`` of the offsets, ``smooth_l1``, or ``giou`` of the boxes (torchvision's
            second version).
        beta: below this difference ``smooth_l1`` is quadratic.
        divide_by: the positives of the whole ``step``; or of each ``image``, the images then
            counting alike (torchvision).
        focal_alpha: weight of positives in the focal loss.
        focal_gamma: how strongly easy examples are faded out.

    Raises:
        UserError: if an option is out of its range.
    """

    name: ClassVar[str] = "retinanet"

    box_loss: Literal["l1", "smooth_l1", "giou"] = "l1"
    beta: float = 0.11
    divide_by: Literal["step", "image"] = "step"
    focal_alpha: float = 0.25
    focal_gamma: float = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("beta", self.beta > 0, "a number above 0")
        self.require("focal_alpha", 0 <= self.focal_alpha <= 1, "a number in [0, 1]")
        self.require_at_least(focal_gamma=0)

    def totals(self, assignment: Assignment) -> dict[str, Tensor]:
        """Count what divides: the ``positives`` of a batch, or its ``images``."""
        positives = assignment.positive.sum().float()
        if self.divide_by == "step":
            return {"positives": positives}
        return {"images": torch.full_like(positives, len(assignment.labels))}

    def __call__(
        self,
        prediction: Prediction,
        assignment: Assignment,
        points: Points,
        totals: Totals | None = None,
    ) -> Losses:
        """Return the losses of a batch, scalars; ``moving_positives`` count for ``cls``.

        Raises:
            ValueError: if the prediction is not one of anchors.
        """
        if not isinstance(prediction, AnchorPrediction) or points.size_wh is None:
            raise ValueError("the loss retinanet needs the head retinanet")
        with torch.autocast(prediction.cls_logits.device.type, enabled=False):
            totals = totals or Totals(self.totals(assignment))
            box_per_image = self._box(prediction, assignment, points, points.size_wh)
            if self.divide_by == "step":
                rows, labels = prediction.cls_logits, assignment.labels
                cls = self._focal(rows, labels, assignment.ignored)
                positives = totals.share("positives", at_least=1.0)
                divisor = totals.positives_for_classes(at_least=1.0)
                return Losses({"cls": cls / divisor, "box": box_per_image.sum() / positives})
            ignored = assignment.ignored
            cls_per_image = torch.stack(
                [
                    self._focal(
                        prediction.cls_logits[image : image + 1],
                        assignment.labels[image : image + 1],
                        None if ignored is None else ignored[image : image + 1],
                    )
                    for image in range(len(assignment.labels))
                ]
            )
            positives = assignment.positive.sum(dim=1).clamp(min=1)
            images = totals.share("images", at_least=1.0)
            return Losses(
                {
                    "cls": (cls_per_image / positives).sum() / images,
                    "box": (box_per_image / positives).sum() / images,
                }
            )

    def _focal(self, logits: Tensor, labels: Tensor, ignored: Tensor | None) -> Tensor:
        return sigmoid_focal_sum(logits, labels, self.focal_alpha, self.focal_gamma, ignored)

    def _box(
        self,
        prediction: AnchorPrediction,
        assignment: Assignment,
        points: Points,
        anchors_wh: Tensor,
    ) -> Tensor:
        """Return the sum of the box loss over the positives of each image, ``[B]``."""
        shape = assignment.labels.shape
        rows = rows_that_count(assignment.positive.flatten())
        positive = taken(assignment.positive.flatten(), rows)[:, None]
        # Background rows get a harmless pair of equal boxes: no NaN, no gradient.
        target_ltrb = torch.where(positive, taken(assignment.ltrb_px.flatten(0, 1), rows), 1.0)
        if self.box_loss == "giou":
            xy = taken_of_each_image(points.xy, rows, shape[0])
            predicted_ltrb = taken(prediction.ltrb_px.flatten(0, 1), rows).float()
            predicted_ltrb = torch.where(positive, predicted_ltrb, 1.0)
            per_anchor = generalized_box_iou_loss(
                ltrb_to_xyxy(xy, predicted_ltrb), ltrb_to_xyxy(xy, target_ltrb)
            )
            per_anchor = torch.where(positive[:, 0], per_anchor, 0.0)
        else:
            target = offsets_of(target_ltrb, taken_of_each_image(anchors_wh, rows, shape[0]))
            predicted = taken(prediction.offsets.flatten(0, 1), rows).float()
            predicted = torch.where(positive, predicted, target)
            beta = self.beta if self.box_loss == "smooth_l1" else 0.0
            per_side = F.smooth_l1_loss(predicted, target, reduction="none", beta=beta)
            per_anchor = per_side.sum(dim=1)
        return spread(per_anchor, rows, shape).sum(dim=1)


def offsets_of(ltrb_px: Tensor, anchors_wh: Tensor) -> Tensor:
    """Return the offsets ``[..., 4]`` that make anchors into boxes, see ``AnchorPrediction``.

    Args:
        ltrb_px: ``[..., 4]`` distances from the anchors' centers to the boxes' sides.
        anchors_wh: ``[..., 2]`` pixels.
    """
    near, far = ltrb_px[..., :2], ltrb_px[..., 2:]
    moved = (far - near) / 2 / anchors_wh
    # A box without a width is dropped by the data; the bound keeps its logarithm finite.
    sides = (near + far).clamp(min=1e-6) / anchors_wh
    return torch.cat([moved, sides.log()], dim=-1)
