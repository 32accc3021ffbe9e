"""Of the boxes that claim a point, the smallest: what many mappings have in common.

With the boxes in order of area, the smallest that claims a point is the one of lowest rank.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fcos_lightning.boxes import xyxy_to_ltrb
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
