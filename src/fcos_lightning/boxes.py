"""Box arithmetic: pure functions of tensors, no state.

``ltrb`` are the distances from a point to the left, top, right and bottom side of a box.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

IoUKind = Literal["iou", "giou", "diou", "ciou"]


def ltrb_to_xyxy(xy: Tensor, ltrb: Tensor) -> Tensor:
    """Return the boxes ``[..., 4]`` that lie ``ltrb`` ``[..., 4]`` around points ``[..., 2]``."""
    return torch.cat([xy - ltrb[..., :2], xy + ltrb[..., 2:]], dim=-1)


def xyxy_to_ltrb(xy: Tensor, boxes_xyxy: Tensor) -> Tensor:
    """Return the distances ``[..., 4]`` from points ``[..., 2]`` to the sides of boxes.

    A distance is negative where the point lies outside the box on that side.
    """
    return torch.cat([xy - boxes_xyxy[..., :2], boxes_xyxy[..., 2:] - xy], dim=-1)


def centerness(ltrb: Tensor) -> Tensor:
    """Return ``sqrt(min(l, r) / max(l, r) * min(t, b) / max(t, b))``, ``[...]`` (paper, eq. 3).

    1 at a box's center, 0 on its border. Distances must be positive.
    """
    left, top, right, bottom = ltrb.unbind(-1)
    across = torch.minimum(left, right) / torch.maximum(left, right)
    along = torch.minimum(top, bottom) / torch.maximum(top, bottom)
    return (across * along).sqrt()


def clip_boxes(boxes_xyxy: Tensor, size_hw: Tensor, last_pixel: bool = False) -> Tensor:
    """Clip boxes ``[..., 4]`` to an image of height and width ``size_hw`` ``[2]``.

    With ``last_pixel`` the far ends are ``width - 1`` and ``height - 1``, the convention of code
    that counts pixels inclusively (the official FCOS).
    """
    far = size_hw.flip(0).to(boxes_xyxy) - (1 if last_pixel else 0)
    return torch.minimum(boxes_xyxy.clamp(min=0), far.repeat(2))


def iou_of_ltrb(
    predicted: Tensor,
    target: Tensor,
    kind: IoUKind = "iou",
    area_offset: float = 0.0,
    eps: float = 1e-7,
) -> Tensor:
    """Return the overlap ``[...]`` of two boxes seen from a point, each ``ltrb`` ``[..., 4]``.

    A distance is negative where a box lies beside the point.

    Args:
        predicted: distances of the one box, any unit.
        target: distances of the other, in the same unit.
        kind: ``iou``; ``giou`` (arXiv 1902.09630) less the share of the enclosing box that
            neither covers; ``diou`` less the squared distance of the centers over the squared
            diagonal of the enclosing box; ``ciou`` less a term for the aspect ratio as well
            (both arXiv 1911.08287).
        area_offset: is added to intersection and union. The official FCOS adds 1.
        eps: keeps divisions by empty areas finite.
    """
    near, far = torch.minimum(predicted, target), torch.maximum(predicted, target)
    # Boxes that both hold the point are never apart; others may be. Where a side has no length, as
    # that of a box whose distances ReLU has cut off, its gradient stays; clamp's would be 0.
    shared_w, shared_h = near[..., 0] + near[..., 2], near[..., 1] + near[..., 3]
    shared_w = torch.where(shared_w < 0, 0.0, shared_w)
    shared_h = torch.where(shared_h < 0, 0.0, shared_h)
    intersection = shared_w * shared_h
    predicted_w, predicted_h = (
        predicted[..., 0] + predicted[..., 2],
        predicted[..., 1] + predicted[..., 3],
    )
    target_w, target_h = target[..., 0] + target[..., 2], target[..., 1] + target[..., 3]
    union = predicted_w * predicted_h + target_w * target_h - intersection
    iou = (intersection + area_offset) / (union + max(area_offset, eps))
    if kind == "iou":
        return iou
    hull_w, hull_h = far[..., 0] + far[..., 2], far[..., 1] + far[..., 3]
    if kind == "giou":
        hull = hull_w * hull_h + eps
        return iou - (hull - union) / hull
    # A center lies (r - l) / 2 right of the shared point; only the difference of the two counts.
    shift_x = (predicted[..., 2] - predicted[..., 0] - target[..., 2] + target[..., 0]) / 2
    shift_y = (predicted[..., 3] - predicted[..., 1] - target[..., 3] + target[..., 1]) / 2
    distance = (shift_x.square() + shift_y.square()) / (hull_w.square() + hull_h.square() + eps)
    if kind == "diou":
        return iou - distance
    angle = torch.atan2(target_w, target_h) - torch.atan2(predicted_w + eps, predicted_h + eps)
    aspect = (4 / math.pi**2) * angle.square()
    # The trade-off weight is a constant of the step (section 3.3 of the paper).
    weight = (aspect / (1 - iou + aspect + eps)).detach()
    return iou - distance - weight * aspect
