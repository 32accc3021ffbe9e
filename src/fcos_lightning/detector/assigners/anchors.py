"""Points with anchors + Targets -> Assignment: by the overlap of anchor and box."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from fcos_lightning.boxes import xyxy_to_ltrb
from fcos_lightning.detector.assigners.pairs import overlaps
from fcos_lightning.detector.parts import Assigner
from fcos_lightning.errors import UserError
from fcos_lightning.structures import Assignment, Points, Prediction, Target, Targets

#: Boxes looked at together, so that no tensor holds a number for each anchor and each box.
_BOXES = 16


@dataclass(frozen=True)
class AnchorAssigner(Assigner):
    """The box that overlaps an anchor most, if it does enough (arXiv 1708.02002, section 4).

    Args:
        positive_iou: an anchor that overlaps a box by no less is positive.
        negative_iou: one that overlaps all of them by less is background; in between it is neither.
        keep_best: the anchors that overlap a box most are positive whatever that is. As in
            torchvision, they answer for the box that they themselves overlap most, which where
            boxes crowd may be another.

    Raises:
        UserError: if the overlaps are not in order.
    """

    name: ClassVar[str] = "anchors"

    positive_iou: float = 0.5
    negative_iou: float = 0.4
    keep_best: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.negative_iou <= self.positive_iou <= 1:
            raise UserError(
                f"model.assigner.negative_iou={self.negative_iou} "
                f"positive_iou={self.positive_iou}: give numbers in [0, 1] in this order"
            )

    @torch.no_grad()
    def __call__(
        self,
        points: Points,
        targets: Targets | Sequence[Target],
        prediction: Prediction | None = None,
    ) -> Assignment:
        """Return the assignment; the prediction is not looked at.

        Raises:
            ValueError: if the points have no anchors.
        """
        if points.size_wh is None:
            raise ValueError("these points have no anchors; the grid makes them")
        if not isinstance(targets, Targets):
            targets = Targets.stack(targets)
        if targets.labels.shape[1] == 0:  # give the reductions below something to reduce over
            targets = Targets(
                boxes_xyxy=targets.boxes_xyxy.new_zeros(len(targets.labels), 1, 4),
                labels=targets.labels.new_full((len(targets.labels), 1), -1),
            )
        half = points.size_wh / 2
        anchors = torch.cat([points.xy - half, points.xy + half], dim=1).T.contiguous()
        images = zip(targets.boxes_xyxy, targets.valid, strict=True)
        each = [self._of_image(anchors, boxes, valid) for boxes, valid in images]
        overlap, matched, best, claims = (torch.stack(rows) for rows in zip(*each, strict=True))

        positive = (overlap >= self.positive_iou) | best
        box_of_anchor = targets.boxes_xyxy.gather(1, matched[..., None].expand(-1, -1, 4))
        ltrb_px = xyxy_to_ltrb(points.xy, box_of_anchor)
        return Assignment(
            labels=torch.where(positive, targets.labels.gather(1, matched), -1),
            ltrb_px=torch.where(positive[..., None], ltrb_px, 0),
            matched=torch.where(positive, matched, -1),
            claims=torch.where(positive, claims.clamp(min=1), 0),
            ignored=(overlap >= self.negative_iou) & ~positive,
        )

    def _of_image(
        self, anchors: Tensor, boxes: Tensor, valid: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return for each anchor its largest overlap and with which box, whether it is the best.

        Args:
            anchors: ``[4, P]`` x1, y1, x2, y2 in pixels.
            boxes: ``[G, 4]`` pixels.
            valid: ``[G]`` bool.

        Returns:
            Four of ``[P]``: overlap, box, whether no anchor overlaps some box more, and how many
            boxes the anchor would be positive for.
        """
        overlap = anchors.new_full(anchors.shape[1:], -1.0)
        matched = torch.zeros_like(overlap, dtype=torch.int64)
        best, claims = torch.zeros_like(overlap, dtype=torch.bool), torch.zeros_like(matched)
        for first in range(0, len(boxes), _BOXES):
            some = slice(first, first + _BOXES)
            ious = torch.where(valid[some, None], overlaps(anchors, boxes[some]), -1.0)
            largest, index = ious.max(dim=0)
            matched = torch.where(largest > overlap, index + first, matched)
            overlap = torch.maximum(overlap, largest)
            wins = ious >= self.positive_iou
            if self.keep_best:
                # A box that touches no anchor has no best one: each would be.
                wins |= (ious == ious.amax(dim=1, keepdim=True)) & (ious > 0)
                best |= wins.any(dim=0)
            claims += wins.sum(dim=0)
        return overlap, matched, best, claims
