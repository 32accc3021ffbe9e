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
_PAIRS = {"cpu": 2**19}
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
        overlap, matched, positive, claims = (
            in_order_of_points(torch.stack(rows), points) for rows in zip(*each, strict=True)
        )

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
            Four of ``[P]``, kind after kind of each level: overlap, box, whether it is positive
            for some box, and for how many.
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
    anchors of one kind in a level differ in. So these lie one after the other, see
    ``in_order_of_points``.

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
    box_areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    box_areas = torch.where(valid, box_areas, torch.inf)
    lines = _lines(points, points.size_wh, boxes)
    # Of one kind in a level all anchors are alike; none is empty, and so no union is.
    kinds = [
        sides[: points.per_cell].prod(dim=1)[:, None, None]
        for sides in torch.split(points.size_wh, points.per_level)
    ]
    total = len(points.xy)
    count = max(_PAIRS.get(boxes.device.type, _PAIRS_ELSEWHERE) // total, 1)
    shared = boxes.new_empty(min(count, len(boxes)), total)
    union = torch.empty_like(shared)
    for first in range(0, len(boxes), count):
        some = slice(first, first + count)
        ious, rest = shared[: len(boxes[some])], union[: len(boxes[some])]
        of_levels = (torch.split(whole, points.per_level, dim=1) for whole in (ious, rest))
        for (across, down), areas, *parts in zip(lines, kinds, *of_levels, strict=True):
            shape = (-1, len(areas), down.shape[2], across.shape[3])
            part, united = (one.view(shape) for one in parts)
            torch.mul(across[some], down[some], out=part)
            torch.sub(areas + box_areas[some, None, None, None], part, out=united)
        yield first, ious.div_(rest), rest


def _lines(points: Points, size_wh: Tensor, boxes: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Return how much of each column and row of anchors boxes ``[G, 4]`` cover, in pixels.

    Returns:
        For each level ``[G, per_cell, 1, width]`` and ``[G, per_cell, height, 1]``.
    """
    levels, first = [], 0
    for (height, width), count in zip(points.feature_sizes, points.per_level, strict=True):
        xy = points.xy[first : first + count].view(height, width, points.per_cell, 2)
        half = size_wh[first : first + points.per_cell] / 2
        covered = []
        for axis, centers in enumerate((xy[0, :, :, 0].T, xy[:, 0, :, 1].T)):  # [kinds, line]
            far = torch.minimum(centers + half[:, axis, None], boxes[:, axis + 2, None, None])
            near = torch.maximum(centers - half[:, axis, None], boxes[:, axis, None, None])
            covered.append((far - near).clamp_(min=0))
        levels.append((covered[0][:, :, None], covered[1][..., None]))
        first += count
    return levels


def in_order_of_points(values: Tensor, points: Points) -> Tensor:
    """Return what is told of anchors kind after kind of each level, ``[..., P]``, cell by cell."""
    return torch.cat(
        [
            one.reshape(*one.shape[:-1], points.per_cell, height * width).mT.flatten(-2)
            for one, (height, width) in _of_levels(values, points)
        ],
        dim=-1,
    )


def kind_after_kind(values: Tensor, points: Points) -> Tensor:
    """Return what is told of anchors cell by cell, ``[..., P]``, kind after kind of each level."""
    return torch.cat(
        [
            one.reshape(*one.shape[:-1], height * width, points.per_cell).mT.flatten(-2)
            for one, (height, width) in _of_levels(values, points)
        ],
        dim=-1,
    )


def _of_levels(values: Tensor, points: Points) -> Iterator[tuple[Tensor, tuple[int, int]]]:
    """Yield what is told of each level's anchors, and the size of its map."""
    yield from zip(torch.split(values, points.per_level, dim=-1), points.feature_sizes, strict=True)
