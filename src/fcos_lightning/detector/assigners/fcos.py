"""Points + Targets -> Assignment: which box each point answers for.

The article calls this the label mapping. A point is positive for a box if it lies inside the box
(or inside the box's center region) and the box's size suits the point's level; among several such
boxes it takes the smallest.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Literal

import torch
from torch import Tensor

from fcos_lightning.detector.assigners.claims import Claims, padded
from fcos_lightning.detector.assigners.smallest import (
    assignment_by_level,
    claims_by_level,
    in_order,
    rank_type,
    smallest_first,
)
from fcos_lightning.detector.parts import Assigner
from fcos_lightning.errors import UserError
from fcos_lightning.structures import Assignment, Points, Prediction, Target, Targets

#: Sizes in pixels, both ends inclusive, that P3 to P7 answer for (paper, section 3.2).
PAPER_SIZE_RANGES = ((-1.0, 64.0), (64.0, 128.0), (128.0, 256.0), (256.0, 512.0), (512.0, math.inf))


@dataclass(frozen=True)
class FCOSAssigner(Assigner):
    """The smallest of the boxes that hold a point and suit its level (paper, section 3).

    Args:
        size_ranges: for each level the smallest and largest ``max(l, t, r, b)`` in pixels. None:
            a level of stride s answers for sizes from 4s to 8s, the finest for all below and the
            coarsest for all above, which on P3 to P7 is the paper's choice.
        center_radius: see ``assign``.
        range_ends: see ``assign``.
    """

    name: ClassVar[str] = "fcos"

    size_ranges: tuple[tuple[float, float], ...] | None = None
    center_radius: float | None = 1.5
    range_ends: Literal["inclusive", "exclusive"] = "inclusive"

    def __post_init__(self) -> None:
        super().__post_init__()
        radius = self.center_radius
        self.require("center_radius", radius is None or radius > 0, "a number above 0, or null")

    def check(self, strides: Sequence[int]) -> None:
        """Refuse size ranges of another number of levels."""
        if self.size_ranges is not None and len(self.size_ranges) != len(strides):
            raise UserError(
                f"model.assigner.size_ranges: {len(self.size_ranges)} ranges for "
                f"{len(strides)} levels"
            )

    def ranges(self, strides: Sequence[int]) -> tuple[tuple[float, float], ...]:
        """Return the size ranges of levels of these strides, given or derived."""
        if self.size_ranges is not None:
            return self.size_ranges
        return tuple(pairwise([-1.0, *(8.0 * stride for stride in strides[:-1]), math.inf]))

    def __call__(
        self,
        points: Points,
        targets: Targets | Sequence[Target],
        prediction: Prediction | None = None,
    ) -> Assignment:
        """Return the assignment; the prediction is not looked at."""
        ranges = self.ranges(points.strides)
        return assign(points, targets, ranges, self.center_radius, self.range_ends)

    def claims(
        self, points: Points, targets: Targets, prediction: Prediction | None = None
    ) -> Claims:
        """Return which points the boxes claim; the prediction is not looked at."""
        order = smallest_first(targets)
        ranges = self.ranges(points.strides)
        ranks = _ranks_by_level(points, targets, order, ranges, self.center_radius, self.range_ends)
        return claims_by_level(order, ranks)


def assign(
    points: Points,
    targets: Targets | Sequence[Target],
    size_ranges: Sequence[tuple[float, float]] = PAPER_SIZE_RANGES,
    center_radius: float | None = 1.5,
    range_ends: Literal["inclusive", "exclusive"] = "inclusive",
) -> Assignment:
    """Return the box, its label and its distances for every point of every image.

    Args:
        points: the points of all levels.
        targets: ground truth of ``B`` images, padded or one by one.
        size_ranges: for each level the smallest and largest ``max(l, t, r, b)`` in pixels, both
            inclusive as in the official code.
        center_radius: only points less than so many strides from the box's center, in x and in y,
            are positive (journal version, section 3.1). None: every point of the box.
        range_ends: whether the ends of the size ranges belong to them (official), or not
            (torchvision, detectron2; a box of just such a size is then no level's).

    Raises:
        ValueError: if there are not as many size ranges as levels.
    """
    if len(size_ranges) != len(points.strides):
        raise ValueError(f"{len(size_ranges)} size ranges but {len(points.strides)} levels")
    targets = padded(targets)
    order = smallest_first(targets)
    ranks = _ranks_by_level(points, targets, order, size_ranges, center_radius, range_ends)
    return assignment_by_level(points, targets, order, ranks)


def _ranks_by_level(
    points: Points,
    targets: Targets,
    order: Tensor,
    size_ranges: Sequence[tuple[float, float]],
    center_radius: float | None,
    range_ends: str,
) -> Iterator[Tensor]:
    """Yield the ranks of the boxes that claim each point, see ``assignment_by_level``."""
    boxes, valid = in_order(targets, order)
    grids = torch.split(points.xy, points.per_level)
    inclusive = range_ends == "inclusive"
    for grid, size_hw, stride, size_range in zip(
        grids, points.feature_sizes, points.strides, size_ranges, strict=True
    ):
        radius_px = None if center_radius is None else center_radius * stride
        yield _claiming_ranks(
            grid.view(*size_hw, 2), boxes, valid, size_range, radius_px, inclusive
        )


def _claiming_ranks(
    grid_xy: Tensor,
    boxes: Tensor,
    valid: Tensor,
    size_range: tuple[float, float],
    radius_px: float | None,
    inclusive: bool,
) -> Tensor:
    """Return for each point and box the box's rank if it claims the point, else ``G``.

    Each condition is about x or about y alone, or the "or" of two such. So they are worked out
    per column and per row: as ranks, a box that fails a condition getting the rank ``G`` of none,
    "and" is the larger of two and "or" the smaller. Two bytes are all that ever has a cell for
    each point and box, and integers of that size run several times as fast as booleans.

    Args:
        grid_xy: ``[height, width, 2]`` pixels.
        boxes: ``[B, G, 4]`` pixels.
        valid: ``[B, G]`` bool.
        size_range: smallest and largest ``max(l, t, r, b)`` in pixels.
        radius_px: half the side of the center region in pixels, or None.
        inclusive: whether both sizes still belong to the level.

    Returns:
        ``[B, G, height, width]`` int16, int32 where there are more boxes than that holds.
    """
    smallest, largest = size_range
    none = boxes.shape[1]
    ranks = torch.arange(none, dtype=rank_type(none), device=boxes.device)[:, None]
    inside, large_enough = [], []
    for axis, coordinates in enumerate((grid_xy[0, :, 0], grid_xy[:, 0, 1])):
        low, high = boxes[..., axis, None], boxes[..., axis + 2, None]
        region_low, region_high = low, high
        if radius_px is not None:
            center = (low + high) / 2
            region_low = torch.maximum(low, center - radius_px)
            region_high = torch.minimum(high, center + radius_px)
        farther_side = torch.maximum(coordinates - low, high - coordinates)
        small = farther_side <= largest if inclusive else farther_side < largest
        large = farther_side >= smallest if inclusive else farther_side > smallest
        suits = (coordinates > region_low) & (coordinates < region_high) & small
        inside.append(torch.where(suits & valid[..., None], ranks, none))
        large_enough.append(torch.where(large, ranks, none))
    both_inside = torch.maximum(inside[0][:, :, None, :], inside[1][:, :, :, None])
    either_large = torch.minimum(large_enough[0][:, :, None, :], large_enough[1][:, :, :, None])
    return torch.maximum(both_inside, either_large)
