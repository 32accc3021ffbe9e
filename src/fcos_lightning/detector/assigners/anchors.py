"""Points with anchors + Targets -> Assignment: by the overlap of anchor and box."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from fcos_lightning.boxes import xyxy_to_ltrb
from fcos_lightning.detector.assigners.claims import padded
from fcos_lightning.detector.parts import Assigner
from fcos_lightning.errors import UserError
from fcos_lightning.structures import Assignment, Points, Prediction, Target, Targets

#: Anchors times boxes looked at together, so that no tensor holds a number for each anchor and each
#: box: on a processor what its cache holds, elsewhere what fills a GPU.
_PAIRS = {"cpu": 2**20}
_PAIRS_ELSEWHERE = 2**24


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
        for option in ("positive_iou", "negative_iou"):
            self.require(option, 0 <= getattr(self, option) <= 1, "a number in [0, 1]")
        if self.negative_iou > self.positive_iou:
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
        targets = padded(targets)
        images = zip(targets.boxes_xyxy, targets.valid, strict=True)
        each = [self._of_image(points, boxes, valid) for boxes, valid in images]
        overlap, matched, positive, claims = (torch.stack(rows) for rows in zip(*each, strict=True))

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
        self, points: Points, boxes: Tensor, valid: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return for each anchor its largest overlap and with which box, and if it is positive.

        Args:
            points: with anchors.
            boxes: ``[G, 4]`` pixels.
            valid: ``[G]`` bool.

        Returns:
            Four of ``[P]``: overlap, box, whether it is positive for some box, and for how many.
        """
        most = MostOverlapping(points, boxes)
        for first, ious, _ in overlaps_in_parts(points, boxes, valid):
            least = torch.full_like(ious[:, :1], self.positive_iou)
            if self.keep_best:
                # A box that touches no anchor has no best one: each would be.
                largest = ious.amax(dim=1, keepdim=True)
                least = torch.where(largest > 0, torch.minimum(least, largest), least)
            real = valid[first : first + len(ious), None]
            most.look_at(first, ious, torch.where(real, least, torch.inf))
        overlap = torch.where(valid.any(), most.overlap, -1.0)
        return overlap, most.box.long(), most.claims > 0, most.claims.long()


class MostOverlapping:
    """Which box overlaps each anchor most, of those looked at so far; of equal ones the first.

    Everything is float32, and one box looked at after the other: on a processor that is several
    times as fast as choosing by index or by condition.

    Args:
        points: with anchors.
        boxes: ``[G, 4]`` pixels.

    Attributes:
        overlap: ``[P]`` the largest, -1 before the first.
        box: ``[P]`` the number of that box.
        claims: ``[P]`` how many boxes overlap the anchor enough.
    """

    def __init__(self, points: Points, boxes: Tensor) -> None:
        self.overlap = boxes.new_full((len(points.xy),), -1.0)
        self.box = torch.zeros_like(self.overlap)
        self.claims = torch.zeros_like(self.overlap)
        self._is = torch.empty_like(self.overlap)

    def look_at(self, first: int, ious: Tensor, enough: float | Tensor) -> None:
        """Take in some more boxes.

        Args:
            first: number of the first of them.
            ious: ``[boxes, P]``.
            enough: an overlap, or one for each box, ``[boxes, 1]``.
        """
        if not isinstance(enough, Tensor):
            enough = ious.new_full((1, 1), enough)
        bounds = enough.expand(len(ious), 1)
        for number, (one, bound) in enumerate(zip(ious, bounds, strict=True), start=first):
            self.box.lerp_(
                torch.full_like(bound, number), torch.gt(one, self.overlap, out=self._is)
            )
            torch.maximum(self.overlap, one, out=self.overlap)
            self.claims.add_(torch.ge(one, bound, out=self._is))


def overlaps_in_parts(
    points: Points, boxes: Tensor, valid: Tensor
) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Yield the overlaps of some boxes of an image after the other with all anchors.

    What boxes and anchors share is worked out for columns and rows apart: it is all that the
    anchors of one kind in a level differ in.

    Args:
        points: with anchors.
        boxes: ``[G, 4]`` pixels.
        valid: ``[G]`` bool; those that are not overlap by 0.

    Yields:
        The number of the first of so many boxes, their overlaps ``[boxes, P]``, and a tensor like
        these to write upon; both are written over next.

    Raises:
        ValueError: if the points have no anchors.
    """
    if points.size_wh is None:
        raise ValueError("these points have no anchors; the grid makes them")
    half = points.size_wh / 2
    anchors = torch.cat([points.xy - half, points.xy + half], dim=1)
    sides = anchors[:, 2:] - anchors[:, :2]
    anchor_areas = sides[:, 0] * sides[:, 1]
    box_areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    box_areas = torch.where(valid, box_areas, torch.inf)
    count = max(_PAIRS.get(boxes.device.type, _PAIRS_ELSEWHERE) // len(anchors), 1)
    shared = boxes.new_empty(min(count, len(boxes)), len(anchors))
    union = torch.empty_like(shared)
    for first in range(0, len(boxes), count):
        some = slice(first, first + count)
        ious, rest = shared[: len(boxes[some])], union[: len(boxes[some])]
        _shared(points, anchors, boxes[some], ious)
        torch.add(anchor_areas, box_areas[some, None], out=rest)
        # An anchor has an area, so the union is never empty.
        yield first, ious.div_(rest.sub_(ious)), rest


def _shared(points: Points, anchors: Tensor, boxes: Tensor, out: Tensor) -> None:
    """Write what boxes ``[G, 4]`` share with anchors ``[P, 4]``, in square pixels, ``[G, P]``."""
    per_cell, first = points.per_cell, 0
    for (height, width), count in zip(points.feature_sizes, points.per_level, strict=True):
        level = anchors[first : first + count].view(height, width, per_cell, 4)
        lines = []
        for axis, line in enumerate((level[0], level[:, 0])):  # of columns, of rows
            far = torch.minimum(line[..., axis + 2], boxes[:, axis + 2, None, None])
            near = torch.maximum(line[..., axis], boxes[:, axis, None, None])
            lines.append((far - near).clamp_(min=0))
        across, down = lines
        part = out[:, first : first + count].view(-1, height, width, per_cell)
        part.copy_(across[:, None]).mul_(down[:, :, None])
        first += count
