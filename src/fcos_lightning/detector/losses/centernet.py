"""CenterNet's losses: a map of centers for each class, offsets and sides at the centers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from fcos_lightning.detector.assigners.centernet import CenterAssignment
from fcos_lightning.detector.heads.centernet import CenterPrediction
from fcos_lightning.detector.losses.center_focal import center_focal_sum, center_map
from fcos_lightning.detector.parts import Loss
from fcos_lightning.structures import Assignment, Losses, Points, Prediction, Totals


@dataclass(frozen=True)
class CenterNetLoss(Loss):
    """The three losses of CenterNet (arXiv 1904.07850, section 3).

    Terms: ``cls``, focal loss over all points and classes, that of points near a center faded out,
    divided by the number of centers, a center counting once for each class. ``offset``, L1 in
    strides, and ``size``, L1 of the sides in strides, of each box at the cell of its center,
    divided by the number of boxes.

    Args:
        size_weight: of ``size``.
        focal_gamma: how strongly easy examples are faded out.
        center_power: how strongly points near a center are: ``(1 - y)`` to the power of this, ``y``
            being the Gaussian there.

    Raises:
        UserError: if a number is below 0.
    """

    name: ClassVar[str] = "centernet"

    size_weight: float = 0.1
    focal_gamma: float = 2.0
    center_power: float = 4.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_at_least(size_weight=0, focal_gamma=0, center_power=0)

    def totals(self, assignment: Assignment) -> dict[str, Tensor]:
        """Count the centers, ``positives``, and the ``boxes`` of a batch."""
        known = _known(assignment)
        return {
            "positives": _distinct(known).sum().float(),
            "boxes": (known.box_labels >= 0).sum().float(),
        }

    def __call__(
        self,
        prediction: Prediction,
        assignment: Assignment,
        points: Points,
        totals: Totals | None = None,
    ) -> Losses:
        """Return the losses of a batch, scalars; ``moving_positives`` count for ``cls``.

        Raises:
            ValueError: if prediction or assignment is another method's.
        """
        if not isinstance(prediction, CenterPrediction):
            raise ValueError("the loss centernet needs the head centernet")
        known = _known(assignment)
        with torch.autocast(prediction.cls_logits.device.type, enabled=False):
            totals = totals or Totals(self.totals(assignment))
            classes = prediction.cls_logits.shape[-1]
            cls = center_focal_sum(
                prediction.cls_logits,
                center_map(known, points, classes),
                known.point_of_box,
                torch.where(_distinct(known), known.box_labels, -1),
                self.focal_gamma,
                self.center_power,
                known.ignored,
            )
            real = (known.box_labels >= 0)[..., None]
            stride = points.strides[0]
            boxes = known.boxes_xyxy
            center = (boxes[..., :2] + boxes[..., 2:]) / 2
            wanted_offset = (center - points.xy[known.point_of_box]) / stride
            wanted_sides = (boxes[..., 2:] - boxes[..., :2]) / stride
            at_box = known.point_of_box[..., None].expand(-1, -1, 2)
            offset = prediction.offsets.float().gather(1, at_box) - wanted_offset
            sides = prediction.sides.float().gather(1, at_box) - wanted_sides
            number = totals.share("boxes", at_least=1.0)
            return Losses(
                {
                    "cls": cls / totals.positives_for_classes(at_least=1.0),
                    "offset": torch.where(real, offset, 0.0).abs().sum() / number,
                    "size": self.size_weight * torch.where(real, sides, 0.0).abs().sum() / number,
                }
            )


def _known(assignment: Assignment) -> CenterAssignment:
    if not isinstance(assignment, CenterAssignment):
        raise ValueError("the loss centernet needs the assigner centernet")
    return assignment


def _distinct(assignment: CenterAssignment) -> Tensor:
    """Whether a box is the first of its class with its center, ``[B, G]`` bool."""
    labels, point = assignment.box_labels, assignment.point_of_box
    # One number for a cell and a class; padding has none that a box could have.
    both = torch.where(labels >= 0, labels * (point.amax() + 1) + point, -1)
    same = both[:, :, None] == both[:, None, :]
    return (labels >= 0) & ~same.tril(diagonal=-1).any(dim=2)
