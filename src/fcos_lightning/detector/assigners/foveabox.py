"""Points + Targets -> Assignment: the middle of a box, on the levels that suit its area."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

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


@dataclass(frozen=True)
class FoveaBoxAssigner(Assigner):
    """The smallest box whose middle, the fovea, holds the point (arXiv 1904.03797, section 3.3).

    A level of stride s answers for boxes whose area has a root from ``4s / eta`` to ``4s * eta``
    pixels, the finest for all below and the coarsest for all above. With ``eta`` above the square
    root of 2, a box has two levels that answer for it, or more.

    Args:
        shrink: sides of the fovea, edges included, in sides of the box.
        eta: how far the areas of a level reach.

    Raises:
        UserError: if the fovea would be larger than the box, or levels would leave out areas.
    """

    name: ClassVar[str] = "foveabox"

    shrink: float = 0.4
    eta: float = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("shrink", 0 < self.shrink <= 1, "a number above 0 and up to 1")
        if self.eta < math.sqrt(2):
            raise UserError(
                f"model.assigner.eta={self.eta}: give 1.4143 or more, else no level answers for "
                "the boxes between two levels' areas"
            )

    def ranges(self, strides: Sequence[int]) -> list[tuple[float, float]]:
        """Return the smallest and largest root of an area, in pixels, of levels of these strides.

        Both belong to them.
        """
        ranges = [(4 * one / self.eta, 4 * one * self.eta) for one in strides]
        ranges[0] = (0.0, ranges[0][1])
        ranges[-1] = (ranges[-1][0], math.inf)
        return ranges

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
        return assignment_by_level(points, targets, order, self._ranks(points, targets, order))

    @torch.no_grad()
    def claims(
        self, points: Points, targets: Targets, prediction: Prediction | None = None
    ) -> Claims:
        """Return which points the boxes claim; the prediction is not looked at."""
        order = smallest_first(targets)
        return claims_by_level(order, self._ranks(points, targets, order))

    def _ranks(self, points: Points, targets: Targets, order: Tensor) -> Iterator[Tensor]:
        """Yield the ranks of the boxes that claim each point, see ``assignment_by_level``."""
        boxes, valid = in_order(targets, order)
        area = (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(dim=-1)
        grids = torch.split(points.xy, points.per_level)
        for grid, size_hw, (least, most) in zip(
            grids, points.feature_sizes, self.ranges(points.strides), strict=True
        ):
            # A box without an area has no middle.
            suits = valid & (area > 0) & (area >= least**2) & (area <= most**2)
            yield self._claiming_ranks(grid.view(*size_hw, 2), boxes, suits)

    def _claiming_ranks(self, grid_xy: Tensor, boxes: Tensor, suits: Tensor) -> Tensor:
        """Return for each point and box the box's rank if its fovea holds the point, else ``G``.

        As in FCOS's mapping, columns and rows are looked at apart, and "and" is the larger rank.

        Args:
            grid_xy: ``[height, width, 2]`` pixels.
            boxes: ``[B, G, 4]`` pixels.
            suits: ``[B, G]`` bool, whether the level answers for the box.

        Returns:
            ``[B, G, height, width]`` integers.
        """
        none = boxes.shape[1]
        ranks = torch.arange(none, dtype=rank_type(none), device=boxes.device)[:, None]
        inside = []
        for axis, coordinates in enumerate((grid_xy[0, :, 0], grid_xy[:, 0, 1])):
            low, high = boxes[..., axis, None], boxes[..., axis + 2, None]
            center, reach = (low + high) / 2, (high - low) * (self.shrink / 2)
            holds = (coordinates >= center - reach) & (coordinates <= center + reach)
            inside.append(torch.where(holds & suits[..., None], ranks, none))
        return torch.maximum(inside[0][:, :, None, :], inside[1][:, :, :, None])
