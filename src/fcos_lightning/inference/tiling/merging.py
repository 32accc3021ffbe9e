"""One set of boxes from those of all tiles."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import batched_nms

from fcos_lightning.inference.tiling.windows import Window
from fcos_lightning.structures import Detections

#: A box that ends so near an inner side of its tile may go on beyond it, in pixels of the image.
_NEAR_PX = 2.0
#: A cut box of which so much lies in a whole one is a part of the same object.
_PART = 0.6
#: Pairs that are compared at a time.
_PAIRS = 4_000_000


def cut_by(boxes_xyxy: Tensor, window: Window, height: int, width: int) -> Tensor:
    """Tell which boxes a seam may have cut.

    Args:
        boxes_xyxy: ``[K, 4]`` pixels of the image.
        window: the tile that they were found in.
        height: of the image in pixels.
        width: likewise.

    Returns:
        ``[K]`` bool: those that end at a side of the tile which is none of the image.
    """
    x1, y1, x2, y2 = boxes_xyxy.unbind(dim=1)
    cut = torch.zeros(len(boxes_xyxy), dtype=torch.bool, device=boxes_xyxy.device)
    if window.x1 > 0:
        cut |= x1 <= window.x1 + _NEAR_PX
    if window.y1 > 0:
        cut |= y1 <= window.y1 + _NEAR_PX
    if window.x2 < width:
        cut |= x2 >= window.x2 - _NEAR_PX
    if window.y2 < height:
        cut |= y2 >= window.y2 - _NEAR_PX
    return cut


def merged(found: Detections, cut: Tensor, nms_iou: float) -> Detections:
    """Return the boxes of an image, each object once, best first.

    Whole boxes come first: of two of a class that overlap more than ``nms_iou`` the weaker one
    goes. A cut box goes where it overlaps a whole one of its class that much, or where most of it
    lies in one, whatever their scores. Those that are left go through NMS among themselves: an
    object that no tile saw whole keeps its parts.

    Args:
        found: of all tiles, in pixels of the image.
        cut: ``[K]`` bool, see ``cut_by``.
        nms_iou: of the detector's decoder.
    """
    places = torch.arange(len(found), device=cut.device)
    whole = _nms(found, places[~cut], nms_iou)
    parts = places[cut]
    parts = parts[~_covered(found, parts, whole, nms_iou)]
    kept = torch.cat([whole, _nms(found, parts, nms_iou)])
    order = found.scores[kept].argsort(descending=True, stable=True)
    return found.at(kept[order])


def _nms(found: Detections, rows: Tensor, nms_iou: float) -> Tensor:
    one = found.at(rows)
    return rows[batched_nms(one.boxes_xyxy.float(), one.scores.float(), one.labels, nms_iou)]


def _covered(found: Detections, parts: Tensor, whole: Tensor, nms_iou: float) -> Tensor:
    """Tell which parts a whole box of their class covers, class by class, a block at a time."""
    covered = torch.zeros(len(parts), dtype=torch.bool, device=parts.device)
    for label in set(found.labels[parts].tolist()):
        mine = (found.labels[parts] == label).nonzero()[:, 0]
        others = found.boxes_xyxy[whole[found.labels[whole] == label]].float()
        if len(others) == 0:
            continue
        for block in mine.split(max(1, _PAIRS // len(others))):
            boxes = found.boxes_xyxy[parts[block]].float()
            corner = torch.maximum(boxes[:, None, :2], others[:, :2])
            far = torch.minimum(boxes[:, None, 2:], others[:, 2:])
            common = (far - corner).clamp(min=0).prod(dim=2)
            own = (boxes[:, 2:] - boxes[:, :2]).prod(dim=1)[:, None]
            theirs = (others[:, 2:] - others[:, :2]).prod(dim=1)
            union = own + theirs - common
            over = (common > nms_iou * union) | (common > _PART * own)
            covered[block] = over.any(dim=1)
    return covered
