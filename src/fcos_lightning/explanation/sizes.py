"""Boxes of an image at the size at which a detector sees it, without reading the image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fcos_lightning.data.resizing import fitting_scale

#: A box with a shorter side is no target, see ``data/augment.py``.
_LEAST_PX = 1.0


@dataclass(frozen=True, eq=False)
class SizedBoxes:
    """An image's boxes after resizing.

    Attributes:
        boxes_xyxy: ``[G, 4]`` float32 pixels of the resized image, clipped to it.
        rows: ``[G]`` int64, which of the annotated boxes they are; those that are too small once
            resized are left out.
        size_hw: height and width of the resized image.
    """

    boxes_xyxy: Tensor
    rows: Tensor
    size_hw: tuple[int, int]


def at_size(
    boxes_xyxy: NDArray[np.float64], size_hw: tuple[int, int], shorter: int, longer: int
) -> SizedBoxes:
    """Return boxes as evaluation's resizing and ``Augmentation`` leave them.

    Args:
        boxes_xyxy: ``[M, 4]`` pixels of the file.
        size_hw: height and width of the file.
        shorter: side of the resized image in pixels.
        longer: what its longer side may at most become.
    """
    height, width = size_hw
    scale = fitting_scale(height, width, shorter, longer)
    new_h, new_w = max(1, round(height * scale)), max(1, round(width * scale))
    # In float32 from here on, as there: a side of just a pixel stays or goes by its rounding.
    share = (boxes_xyxy / (width, height, width, height)).astype(np.float32).clip(0, 1)
    found = share * np.array([new_w, new_h, new_w, new_h], dtype=np.float32)
    (rows,) = (found[:, 2:] - found[:, :2] >= _LEAST_PX).all(axis=1).nonzero()
    return SizedBoxes(torch.from_numpy(found[rows]), torch.from_numpy(rows), (new_h, new_w))
