"""Points + Targets -> Assignment: each box its one cell, and how far around it is nearly right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from fcos_lightning.detector.assigners.claims import padded
from fcos_lightning.detector.assigners.smallest import (
    assignment_of_ranks,
    in_order,
    smallest_first,
)
from fcos_lightning.detector.parts import Assigner
from fcos_lightning.errors import UserError
from fcos_lightning.structures import Assignment, Points, Prediction, Target, Targets


@dataclass(frozen=True, eq=False)
class CenterAssignment(Assignment):
    """Beside the positives, what the boxes themselves want; ``G`` boxes of an image.

    The smallest of the boxes that share a cell is the one of which the point says ``ltrb_px``; the
    losses look at all of them.

    Attributes:
        box_labels: ``[B, G]`` int64, -1 on padding and on boxes without an area.
        boxes_xyxy: ``[B, G, 4]`` float32 pixels.
        point_of_box: ``[B, G]`` int64, the point whose cell holds the box's center.
        radius: ``[B, G]`` float32 whole cells, how far around the center a box would still overlap
            enough.
    """

    box_labels: Tensor = field(kw_only=True)
    boxes_xyxy: Tensor = field(kw_only=True)
    point_of_box: Tensor = field(kw_only=True)
    radius: Tensor = field(kw_only=True)


@dataclass(frozen=True)
class CenterNetAssigner(Assigner):
    """The point whose cell holds the center of a box (arXiv 1904.07850, section 3).

    Args:
        overlap: with a box whose corners are both off by no more than the radius, a box of the same
            kind has at least this IoU (arXiv 1808.01244, section 3.2).

    Raises:
        UserError: if that is no overlap.
    """

    name: ClassVar[str] = "centernet"

    overlap: float = 0.7

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("overlap", 0 < self.overlap < 1, "a number between 0 and 1")

    def check(self, strides: Sequence[int]) -> None:
        """Refuse several levels: a box would have a center on each."""
        check_one_level("centernet", strides)

    @torch.no_grad()
    def __call__(
        self,
        points: Points,
        targets: Targets | Sequence[Target],
        prediction: Prediction | None = None,
    ) -> CenterAssignment:
        """Return the assignment; the prediction is not looked at."""
        targets = padded(targets)
        order = smallest_first(targets)
        boxes, valid = in_order(targets, order)
        sides = (boxes[..., 2:] - boxes[..., :2]).clamp(min=0)
        real = valid & (sides > 0).all(dim=-1)
        point = cell_of(points, (boxes[..., :2] + boxes[..., 2:]) / 2)

        count, none = len(points.xy), boxes.shape[1]
        # Padding and boxes without an area claim a point that is not there.
        claimed = torch.where(real, point, count)
        rank = torch.arange(none, device=boxes.device).expand_as(claimed)
        lowest = rank.new_full((len(boxes), count + 1), none)
        lowest = lowest.scatter_reduce(1, claimed, rank, "amin")[:, :count]
        claims = torch.zeros_like(lowest).new_zeros(len(boxes), count + 1)
        claims = claims.scatter_add(1, claimed, torch.ones_like(claimed))[:, :count]
        ranked = assignment_of_ranks(points, targets, order, lowest, claims)
        return CenterAssignment(
            labels=ranked.labels,
            ltrb_px=ranked.ltrb_px,
            matched=ranked.matched,
            claims=ranked.claims,
            box_labels=torch.where(real, targets.labels.gather(1, order), -1),
            boxes_xyxy=boxes,
            point_of_box=point,
            radius=gaussian_radius(sides / points.strides[0], self.overlap),
        )


def check_one_level(name: str, strides: Sequence[int]) -> None:
    """Refuse a method of one map on several levels.

    Raises:
        UserError: naming the option that makes it one.
    """
    if len(strides) != 1:
        raise UserError(
            f"model.assigner.name={name}: it has one level, not those of strides "
            f"{list(strides)}; give model.fpn.only=2 for one of stride 4"
        )


def cell_of(points: Points, xy: Tensor) -> Tensor:
    """Return the index of the point whose cell holds each place ``[..., 2]``, of a single level.

    What lies outside of the map belongs to the cell next to it.
    """
    height, width = points.feature_sizes[0]
    column, row = (xy / points.strides[0]).floor().unbind(dim=-1)
    return (row.clamp(0, height - 1) * width + column.clamp(0, width - 1)).long()


def gaussian_radius(sides: Tensor, overlap: float) -> Tensor:
    """Return the largest whole radius ``[...]`` that keeps the overlap, of sides ``[..., 2]``.

    Each corner of a box is off by at most the radius in x and in y. The overlap is least with both
    off along the same diagonal, both inside, or both outside; the smallest of the three radii
    counts.
    """
    total, area = sides.sum(dim=-1), sides.prod(dim=-1)

    def smaller_root(a: float, b: Tensor, c: Tensor) -> Tensor:
        # Of a x^2 - b x + c, both roots above 0; by the other root, so that nothing cancels.
        return 2 * c / (b + (b.square() - 4 * a * c).clamp(min=0).sqrt()).clamp(min=1e-9)

    along = smaller_root(1.0, total, area * (1 - overlap) / (1 + overlap))
    inside = smaller_root(4.0, 2 * total, area * (1 - overlap))
    # Of a x^2 + b x - c, the root above 0.
    a, b, c = 4 * overlap, 2 * overlap * total, (1 - overlap) * area
    outside = 2 * c / (b + (b.square() + 4 * a * c).sqrt()).clamp(min=1e-9)
    return torch.minimum(torch.minimum(along, inside), outside).floor()
