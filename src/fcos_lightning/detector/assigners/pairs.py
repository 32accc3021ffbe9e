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


def pairs_inside(
    points: Points, boxes: Tensor, valid: Tensor
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield some boxes, the points inside of them, and which of these are any, for all boxes.

    For each box they are a rectangle of each level's grid, so that no point outside is looked at.
    How many they are depends on the boxes: see ``known_at_once``.

    Args:
        points: of all levels.
        boxes: ``[N, 4]`` pixels.
        valid: ``[N]`` bool; the others, and those without points, are left out.

    Yields:
        ``[n]`` int64 numbers of boxes; ``[n, K]`` int64 points; ``[n, K]`` bool.
    """
    levels, first = [], 0
    for (height, width), per_level in zip(points.feature_sizes, points.per_level, strict=True):
        grid_xy = points.xy[first : first + per_level].view(height, width, points.per_cell, 2)
        ends = []
        for axis, at in enumerate((grid_xy[0, :, 0, 0], grid_xy[:, 0, 0, 1])):
            at = at.contiguous()
            start = torch.searchsorted(at, boxes[:, axis].contiguous(), right=True)
            end = torch.searchsorted(at, boxes[:, axis + 2].contiguous())
            ends.append((start, (end - start).clamp_(min=0) * valid))
        (column, across), (row, down) = ends
        across, row_of_points = across * points.per_cell, width * points.per_cell
        start = first + row * row_of_points + column * points.per_cell
        levels.append((start, across, across * down, row_of_points))
        first += per_level

    counts = torch.stack([count for _, _, count, _ in levels], dim=1)
    total = counts.sum(dim=1)
    order = total.argsort(descending=True)
    order = order[: int((total > 0).sum())]
    together = _PAIRS.get(boxes.device.type, _PAIRS_ELSEWHERE)
    while len(order):
        # The largest comes first, and the others get as many places as it has.
        some = order[: max(together // int(total[order[0]]), 1)]
        order = order[len(some) :]
        index, real = [], []
        for (start, across, count, row_of_points), most in zip(
            levels, counts[some].amax(dim=0).tolist(), strict=True
        ):
            place = torch.arange(most, device=boxes.device)
            wide = across[some, None].clamp(min=1)
            down = place.div(wide, rounding_mode="floor")
            is_one = place < count[some, None]
            at = start[some, None] + down * row_of_points + (place - down * wide)
            index.append(torch.where(is_one, at, 0))
            real.append(is_one)
        yield some, torch.cat(index, dim=1), torch.cat(real, dim=1)


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
