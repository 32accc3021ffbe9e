"""Points with anchors + Targets -> Assignment: SSD's matching."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from fcos_lightning.boxes import xyxy_to_ltrb
from fcos_lightning.detector.assigners.anchors import (
    MostOverlapping,
    in_order_of_points,
    kind_after_kind,
    overlaps_in_parts,
)
from fcos_lightning.detector.assigners.claims import padded
from fcos_lightning.detector.parts import Assigner
from fcos_lightning.structures import Assignment, Points, Prediction, Target, Targets


@dataclass(frozen=True)
class SSDAssigner(Assigner):
    """The box that overlaps an anchor most, and for each box the anchor that overlaps it most.

    Every box gets its best anchor, whatever else that one overlaps; an anchor that is the best of
    several boxes goes to the last of them, as in torchvision. Then an anchor that overlaps a box
    enough answers for the one that it overlaps most (arXiv 1512.02325, section 2.2). A box that
    touches no anchor has none.

    Args:
        positive_iou: an anchor that overlaps a box by no less is positive.

    Raises:
        UserError: if that is no overlap.
    """

    name: ClassVar[str] = "ssd"

    positive_iou: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        within = 0 < self.positive_iou <= 1
        self.require("positive_iou", within, "a number above 0 and up to 1")

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
        targets = padded(targets)
        images = zip(targets.boxes_xyxy, targets.valid, strict=True)
        each = [self._of_image(points, boxes, valid) for boxes, valid in images]
        matched, claims = (torch.stack(rows) for rows in zip(*each, strict=True))
        positive = matched >= 0
        row = matched.clamp(min=0)
        box_of_anchor = targets.boxes_xyxy.gather(1, row[..., None].expand(-1, -1, 4))
        ltrb_px = xyxy_to_ltrb(points.xy, box_of_anchor)
        return Assignment(
            labels=torch.where(positive, targets.labels.gather(1, row), -1),
            ltrb_px=torch.where(positive[..., None], ltrb_px, 0),
            matched=matched,
            claims=claims,
        )

    def _of_image(self, points: Points, boxes: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Return the box of each anchor, -1 is none, and how many claim it; two of ``[P]`` int64.

        Args:
            points: with anchors.
            boxes: ``[G, 4]`` pixels.
            valid: ``[G]`` bool.
        """
        most = MostOverlapping(points, boxes)
        forced = torch.full((len(points.xy),), -1, device=boxes.device)
        claims = torch.zeros_like(forced)
        # The first of several largest is the one of which most are left.
        left = torch.arange(len(points.xy), 0, -1, dtype=boxes.dtype, device=boxes.device)
        left = kind_after_kind(left, points)
        for first, ious, spare in overlaps_in_parts(points, boxes, valid):
            most.look_at(first, ious, self.positive_iou)
            best_iou = ious.amax(dim=1)
            at_best = torch.eq(ious, best_iou[:, None], out=spare).mul_(left)
            best = len(left) - at_best.amax(dim=1).long()
            number = torch.arange(first, first + len(ious), device=boxes.device)
            number = torch.where(best_iou > 0, number, -1)
            forced = forced.scatter_reduce(0, best, number, "amax")
            # One that a box's best overlaps less than enough claims it all the same.
            weak = (best_iou > 0) & (best_iou < self.positive_iou)
            claims = claims.scatter_add(0, best, weak.long())
        matched = torch.where(most.overlap >= self.positive_iou, most.box, -1.0)
        matched, its_claims = (
            in_order_of_points(one, points).long() for one in (matched, most.claims)
        )
        return torch.where(forced >= 0, forced, matched), claims + its_claims
