"""Of the boxes that claim a point, the smallest: what many mappings have in common.

With the boxes in order of area, the smallest that claims a point is the one of lowest rank.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from fcos_lightning.boxes import xyxy_to_ltrb
from fcos_lightning.detector.assigners.claims import Claims
from fcos_lightning.structures import Assignment, Points, Targets


def smallest_first(targets: Targets) -> Tensor:
    """Order the boxes of each image by area, ``[B, G]``; padding last, equal areas as given.

    Areas are taken in float64: in float32, products that differ by a few pixels compare equal.
    """
    boxes, valid = targets.boxes_xyxy, targets.valid
    if boxes.device.type == "mps":  # has no float64
        boxes, valid = boxes.cpu(), valid.cpu()
    area = (boxes[..., 2:].double() - boxes[..., :2].double()).prod(dim=-1)
    order = torch.where(valid, area, math.inf).argsort(dim=1, stable=True)
    return order.to(targets.boxes_xyxy.device)


def in_order(targets: Targets, order: Tensor) -> tuple[Tensor, Tensor]:
    """Return the boxes ``[B, G, 4]`` in an order ``[B, G]``, and which are real ``[B, G]``."""
    boxes = targets.boxes_xyxy.gather(1, order[..., None].expand(-1, -1, 4))
    return boxes, targets.valid.gather(1, order)


def rank_type(boxes: int) -> torch.dtype:
    """The smallest integers that hold the ranks of so many boxes, and one more for none."""
    return torch.int16 if boxes <= torch.iinfo(torch.int16).max else torch.int32


def assignment_by_level(
    points: Points, targets: Targets, order: Tensor, ranks: Iterable[Tensor]
) -> Assignment:
    """Return the assignment in which each point answers for its box of lowest rank.

    Args:
        points: of all levels.
        targets: ground truth of ``B`` images.
        order: ``[B, G]`` which box has which rank.
        ranks: for each level ``[B, G, height, width]``, of each box its rank where it claims the
            point, else ``G``.
    """
    lowest, claims = [], []
    for here in ranks:
        lowest.append(here.amin(dim=1).flatten(1))
        claimed = here < order.shape[1]
        claims.append(claimed.sum(dim=1, dtype=here.dtype).flatten(1))
    return assignment_of_ranks(
        points, targets, order, torch.cat(lowest, dim=1), torch.cat(claims, dim=1)
    )


def claims_by_level(order: Tensor, ranks: Iterable[Tensor]) -> Claims:
    """Return every claim, see ``assignment_by_level``."""
    batch, boxes = order.shape
    groups, points, first = [], [], 0
    for here in ranks:
        image, rank, point = (here < boxes).flatten(2).nonzero(as_tuple=True)
        groups.append(image * boxes + order[image, rank])
        points.append(first + point)
        first += here[0, 0].numel()
    group, place = torch.cat(groups).sort(stable=True)
    count = torch.bincount(group, minlength=batch * boxes)
    before = (count.cumsum(0) - count)[group]
    column = torch.arange(len(group), device=group.device) - before
    point = group.new_zeros(batch * boxes, max(int(count.max()), 1))
    point[group, column] = torch.cat(points)[place]
    made = torch.zeros_like(point, dtype=torch.bool)
    made[group, column] = True
    shape = (batch, boxes, -1)
    smaller = order.argsort(dim=1).neg().float()[..., None]
    return Claims(point.view(shape), made.view(shape), smaller.expand(-1, -1, point.shape[1]))


def assignment_of_ranks(
    points: Points, targets: Targets, order: Tensor, lowest: Tensor, claims: Tensor
) -> Assignment:
    """Return the assignment in which each point answers for its box of lowest rank.

    Args:
        points: of all levels.
        targets: ground truth of ``B`` images.
        order: ``[B, G]`` which box has which rank.
        lowest: ``[B, P]`` the lowest rank that claims a point; whatever where none does.
        claims: ``[B, P]`` how many boxes claim it.
    """
    positive = claims > 0
    rank = lowest.long().clamp(max=order.shape[1] - 1)
    matched = order.gather(1, rank)
    box_of_point = targets.boxes_xyxy.gather(1, matched[..., None].expand(-1, -1, 4))
    ltrb_px = xyxy_to_ltrb(points.xy, box_of_point)
    return Assignment(
        labels=torch.where(positive, targets.labels.gather(1, matched), -1),
        ltrb_px=torch.where(positive[..., None], ltrb_px, 0),
        matched=torch.where(positive, matched, -1),
        claims=claims.long(),
    )
