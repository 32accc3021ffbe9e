"""What mappings ask of every pair of a box and a point, some pairs at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from fcos_lightning.boxes import ltrb_to_xyxy
from fcos_lightning.structures import Points, Prediction

#: Pairs looked at together: on a processor what its cache holds, elsewhere what fills a GPU.
_PAIRS = {"cpu": 2**18}
_PAIRS_ELSEWHERE = 2**25


def of_all_pairs(
    ask: Callable[[slice, slice], tuple[Tensor, ...]], boxes: Tensor, points: Tensor
) -> tuple[Tensor, ...]:
    """Return what is asked of some boxes and all points, for all boxes.

    Args:
        ask: images and boxes, so many of each -> tensors ``[b, g, ...]``.
        boxes: ``[B, G]``, of which the shape counts.
        points: ``[P, ...]``, of which the number and the device count.

    Returns:
        The tensors, ``[B, G, ...]``.
    """
    rows = []
    for of_images, of_boxes in _pieces(boxes.shape[0], boxes.shape[1], points):
        pieces = zip(*(ask(of_images, some) for some in of_boxes), strict=True)
        rows.append([torch.cat(one, dim=1) for one in pieces])
    return tuple(torch.cat(one) for one in zip(*rows, strict=True))


def corners_of(prediction: Prediction, points: Points) -> Tensor:
    """Return the predicted boxes ``[4, B, 1, P]``, each of x1, y1, x2, y2 in a row of memory."""
    xyxy = ltrb_to_xyxy(points.xy, prediction.ltrb_px.float())
    return xyxy.movedim(-1, 0)[:, :, None].contiguous()


def overlaps(corners: Tensor, boxes: Tensor) -> Tensor:
    """Return the IoU ``[..., G, P]`` of boxes ``[..., G, 4]`` with ``[4, ..., 1, P]`` others.

    A pair without any area has none in common.
    """
    left, top, right, bottom = corners
    x1, y1, x2, y2 = (side[..., None] for side in boxes.unbind(-1))
    width = (torch.minimum(right, x2) - torch.maximum(left, x1)).clamp_(min=0)
    height = (torch.minimum(bottom, y2) - torch.maximum(top, y1)).clamp_(min=0)
    shared = width.mul_(height)
    union = ((right - left) * (bottom - top) + (x2 - x1) * (y2 - y1)).sub_(shared)
    return shared.div_(union.clamp_(min=torch.finfo(union.dtype).tiny))


def _pieces(images: int, boxes: int, points: Tensor) -> Iterator[tuple[slice, list[slice]]]:
    together = _PAIRS.get(points.device.type, _PAIRS_ELSEWHERE)
    count = max(len(points), 1)
    if torch.compiler.is_compiling() or images * boxes * count <= together:
        yield slice(None), [slice(None)]
        return
    height = max(together // count, 1)
    some = [slice(first, first + height) for first in range(0, boxes, height)]
    for image in range(images):
        yield slice(image, image + 1), some
