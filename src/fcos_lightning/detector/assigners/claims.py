"""From the points that boxes claim to the one box of each point.

Mappings that choose a few points for each box, by whatever rule, have the rest in common: a point
that several boxes claim goes to one of them. ``K`` is the number of places for claims of a box.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fcos_lightning.boxes import xyxy_to_ltrb
from fcos_lightning.structures import Assignment, Points, Target, Targets


@dataclass(frozen=True, eq=False)
class Claims:
    """Which points the boxes of ``B`` images claim.

    Attributes:
        point: ``[B, G, K]`` int64.
        made: ``[B, G, K]`` bool, which places are claims; the others are empty.
        rank: ``[B, G, K]`` float32; of several boxes the one of largest rank gets the point, of
            equal ones the first.
    """

    point: Tensor
    made: Tensor
    rank: Tensor

    def granted(self, points: int) -> Tensor:
        """Return which claims win their point, ``[B, G, K]`` bool: one at most for each point.

        Args:
            points: ``P``.
        """
        index, made, rank = (one.flatten(1) for one in (self.point, self.made, self.rank))
        batch, boxes, places = self.point.shape
        # Empty places claim a point that is not there.
        index = torch.where(made, index, points)
        best = rank.new_full((batch, points + 1), -torch.inf)
        best = best.scatter_reduce(1, index, rank, "amax")
        wins = made & (rank == best.gather(1, index))
        box = torch.arange(boxes, device=index.device).repeat_interleave(places).expand_as(index)
        first = index.new_full((batch, points + 1), boxes)
        first = first.scatter_reduce(1, torch.where(wins, index, points), box, "amin")
        return (wins & (box == first.gather(1, index))).view_as(self.made)

    def at_points(self, value: Tensor, granted: Tensor, points: int) -> Tensor:
        """Return values ``[B, G, K]`` of the granted claims at their points, ``[B, P]``, else 0."""
        index = torch.where(granted, self.point, points).flatten(1)
        spread = value.new_zeros(len(value), points + 1)
        return spread.scatter(1, index, value.flatten(1))[:, :points]

    def assignment(self, points: Points, targets: Targets, granted: Tensor) -> Assignment:
        """Return the assignment in which the granted claims are the positives."""
        count = len(points.xy)
        box = torch.arange(self.made.shape[1], device=self.made.device)[:, None] + 1
        matched = self.at_points(box.expand_as(self.point), granted, count) - 1
        index = torch.where(self.made, self.point, count).flatten(1)
        claims = index.new_zeros(len(index), count + 1)
        claims = claims.scatter_add(1, index, torch.ones_like(index))[:, :count]
        positive = matched >= 0
        row = matched.clamp(min=0)
        box_of_point = targets.boxes_xyxy.gather(1, row[..., None].expand(-1, -1, 4))
        ltrb_px = xyxy_to_ltrb(points.xy, box_of_point)
        return Assignment(
            labels=torch.where(positive, targets.labels.gather(1, row), -1),
            ltrb_px=torch.where(positive[..., None], ltrb_px, 0),
            matched=matched,
            claims=claims,
        )


def padded(targets: Targets | Sequence[Target]) -> Targets:
    """Return the targets of a batch as one, with at least a row of padding to reduce over."""
    if not isinstance(targets, Targets):
        targets = Targets.stack(targets)
    if targets.labels.shape[1]:
        return targets
    images = len(targets.labels)
    return Targets(
        boxes_xyxy=targets.boxes_xyxy.new_zeros(images, 1, 4),
        labels=targets.labels.new_full((images, 1), -1),
    )
