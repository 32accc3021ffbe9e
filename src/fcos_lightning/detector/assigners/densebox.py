"""Points + Targets -> Assignment: a disc around the center of each box, on one level."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from fcos_lightning.detector.assigners.centernet import cell_of, check_one_level
from fcos_lightning.detector.assigners.claims import padded
from fcos_lightning.detector.assigners.smallest import (
    assignment_of_ranks,
    in_order,
    smallest_first,
)
from fcos_lightning.detector.parts import Assigner
from fcos_lightning.structures import Assignment, Points, Prediction, Target, Targets


@dataclass(frozen=True)
class DenseBoxAssigner(Assigner):
    """The smallest box around whose center the point is near enough (arXiv 1509.04874, section 3).

    The point whose cell holds a box's center is always positive, so that small boxes have one too.
    Points a little beyond a disc are neither positive nor background. A box without an area has no
    disc.

    Args:
        radius: of the disc, edge included, in heights of the box.
        gray: so many strides beyond a disc points are left out.

    Raises:
        UserError: if one is below 0.
    """

    name: ClassVar[str] = "densebox"

    radius: float = 0.3
    gray: float = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_at_least(radius=0, gray=0)

    def check(self, strides: Sequence[int]) -> None:
        """Refuse several levels: a box would have a disc on each."""
        check_one_level("densebox", strides)

    @torch.no_grad()
    def __call__(
        self,
        points: Points,
        targets: Targets | Sequence[Target],
        prediction: Prediction | None = None,
    ) -> Assignment:
        """Return the assignment; the prediction is not looked at."""
        targets = padded(targets)
        order = smallest_first(targets)
        boxes, valid = in_order(targets, order)
        sides = (boxes[..., 2:] - boxes[..., :2]).clamp(min=0)
        real = valid & (sides > 0).all(dim=-1)
        center = (boxes[..., :2] + boxes[..., 2:]) / 2
        radius = torch.where(real, self.radius * sides[..., 1], -1.0)
        beyond = torch.where(real, radius + self.gray * points.strides[0], -1.0)
        home = torch.where(real, cell_of(points, center), -1)

        discs = zip(center, radius, beyond, home, strict=True)
        each = [_of_image(points, *one) for one in discs]
        lowest, claims, near = (torch.stack(rows) for rows in zip(*each, strict=True))
        found = assignment_of_ranks(points, targets, order, lowest, claims)
        return replace(found, ignored=near & ~found.positive)


def _of_image(
    points: Points, center: Tensor, radius: Tensor, beyond: Tensor, home: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return each point's first disc, how many discs hold it, and whether it is near to one.

    One box is looked at after the other, so that no tensor holds a number for each point and box,
    and what there is stays in a processor's cache.

    Args:
        points: of a single level.
        center: ``[G, 2]`` pixels, of boxes in order of area.
        radius: ``[G]`` pixels, negative where there is no disc.
        beyond: ``[G]`` pixels, likewise.
        home: ``[G]`` int64, the point that is always inside, -1 is none.

    Returns:
        Three of ``[P]``: integers, ``G`` is none; integers; bool.
    """
    _, width = points.feature_sizes[0]
    away = [points.xy[:width, 0] - center[:, :1], points.xy[::width, 1] - center[:, 1:]]
    across, down = (one.square_() for one in away)
    # Below 0 for what is not there: nothing is as near as that.
    radius, beyond = radius * radius.abs(), beyond * beyond.abs()
    # Float32 throughout, and no choice by condition: on a processor several times as fast.
    lowest = torch.full_like(points.xy[:, 0], len(center))
    claims, near, inside = (torch.zeros_like(lowest) for _ in range(3))
    grid = torch.empty(points.feature_sizes[0], device=center.device)
    # The largest first, so that a smaller one takes the point from it.
    for rank in range(len(center) - 1, -1, -1):
        squared = torch.add(down[rank, :, None], across[rank], out=grid).view(-1)
        torch.le(squared, radius[rank], out=inside)
        lowest.lerp_(torch.full_like(radius[:1], rank), inside)
        claims += inside
        near += torch.le(squared, beyond[rank], out=inside)
    ranks = torch.arange(len(center), device=center.device)
    place = home.clamp(min=0)
    _, width = points.feature_sizes[0]
    squared = across[ranks, place % width] + down[ranks, place // width]
    alone = (home >= 0) & (squared > radius)
    claims = claims.long().scatter_add(0, place, alone.long())
    ranks = torch.where(home >= 0, ranks, len(center))
    lowest = lowest.long().scatter_reduce(0, place, ranks, "amin")
    return lowest, claims, near > 0
