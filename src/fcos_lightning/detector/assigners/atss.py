"""Points + Targets -> Assignment: ATSS, which finds a threshold of its own for each box."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from fcos_lightning.boxes import iou_of_ltrb, xyxy_to_ltrb
from fcos_lightning.detector.assigners.claims import Claims, padded
from fcos_lightning.detector.parts import Assigner
from fcos_lightning.structures import Assignment, Points, Prediction, Target, Targets
from fcos_lightning.structures.on_device import placed

#: By so much an overlap may miss the threshold: where all overlaps are alike, their mean is off by
#: rounding.
_ROUNDING = 1e-6


@dataclass(frozen=True)
class ATSSAssigner(Assigner):
    """Adaptive training sample selection (arXiv 1912.02424, section 4).

    The candidates of a box are the points nearest to its center, so many of each level. Each point
    stands for a square around it. Positive are the candidates that lie inside the box and whose
    square overlaps the box by no less than the mean and the standard deviation of all candidates'
    overlaps together. A point of several boxes goes to the one that its square overlaps most.

    Args:
        per_level: candidates of each level.
        square: side of the squares in strides.

    Raises:
        UserError: if there are no candidates, or the squares have no size.
    """

    name: ClassVar[str] = "atss"

    per_level: int = 9
    square: float = 8.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_at_least(per_level=1)
        self.require("square", self.square > 0, "a number above 0")

    @torch.no_grad()
    def __call__(
        self,
        points: Points,
        targets: Targets | Sequence[Target],
        prediction: Prediction | None = None,
    ) -> Assignment:
        """Return the assignment; the prediction is not looked at.

        Raises:
            ValueError: if a cell has several points, as those of anchors.
        """
        targets = padded(targets)
        claims = self.claims(points, targets)
        return claims.assignment(points, targets, claims.granted(len(points.xy)))

    def claims(
        self, points: Points, targets: Targets, prediction: Prediction | None = None
    ) -> Claims:
        """Return which points the boxes claim, ranked by overlap; without the prediction.

        Raises:
            ValueError: as above.
        """
        if points.per_cell != 1:
            raise ValueError("the assigner atss takes points, one of a cell, and no anchors")
        boxes = targets.boxes_xyxy
        center = (boxes[..., :2] + boxes[..., 2:]) / 2
        index, first = [], 0
        for grid, size_hw in zip(
            torch.split(points.xy, points.per_level), points.feature_sizes, strict=True
        ):
            index.append(first + nearest_on_grid(grid.view(*size_hw, 2), center, self.per_level))
            first += len(grid)
        candidates = torch.cat(index, dim=-1)

        ltrb = xyxy_to_ltrb(points.xy[candidates], boxes[:, :, None])
        half = points.stride[candidates] * (self.square / 2)
        overlap = iou_of_ltrb(half[..., None].expand_as(ltrb), ltrb)
        mean = overlap.mean(dim=-1, keepdim=True)
        away = overlap - mean
        # Of a sample, as the official code takes it.
        deviation = (away.square().sum(dim=-1, keepdim=True) / max(away.shape[-1] - 1, 1)).sqrt()
        inside = (ltrb > 0).all(dim=-1) & targets.valid[..., None]
        return Claims(candidates, inside & (away >= deviation - _ROUNDING), overlap)


def nearest_on_grid(grid_xy: Tensor, to_xy: Tensor, count: int) -> Tensor:
    """Return the points of a grid that are nearest to some places, by their row-major index.

    A point in the i-th nearest column and the j-th nearest row has ``i * j - 1`` others that are
    no farther, so only a few pairs of columns and rows have to be looked at.

    Args:
        grid_xy: ``[height, width, 2]`` pixels.
        to_xy: ``[..., 2]`` pixels.
        count: how many; all where the grid has no more.

    Returns:
        ``[..., n]`` int64, the nearest first and of equally near ones the first of the grid.
    """
    height, width, _ = grid_xy.shape
    away_x, column = _nearest(grid_xy[0, :, 0], to_xy[..., 0], count)
    away_y, row = _nearest(grid_xy[:, 0, 1], to_xy[..., 1], count)
    pairs = [
        (i, j)
        for i in range(away_x.shape[-1])
        for j in range(away_y.shape[-1])
        if (i + 1) * (j + 1) <= count
    ]
    at_x, at_y = (placed(one, grid_xy.device) for one in zip(*pairs, strict=True))
    index = row[..., at_y] * width + column[..., at_x]
    squared = away_x[..., at_x].square() + away_y[..., at_y].square()
    index, order = index.sort(dim=-1)
    squared = squared.gather(-1, order)
    order = squared.argsort(dim=-1, stable=True)[..., : min(count, height * width)]
    return index.gather(-1, order)


def _nearest(coordinates: Tensor, to: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return distance and index ``[..., n]`` of the nearest of ``[N]``, the nearest first."""
    away, order = (coordinates - to[..., None]).abs().sort(dim=-1, stable=True)
    return away[..., :count], order[..., :count]
