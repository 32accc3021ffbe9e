"""An image as the detector looks at it: resized, or kept as it was to be looked at in tiles."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from fcos_lightning.data.resizing import Sides, planes
from fcos_lightning.inference.pictures.pixels import AnyImage, rgb_pixels
from fcos_lightning.inference.tiling.looking import InTiles
from fcos_lightning.inference.tiling.rows import InMemory, PixelRows
from fcos_lightning.inference.tiling.tiff_rows import rows_of


@dataclass(frozen=True, eq=False)
class Prepared:
    """An image as the detector looks at it.

    Attributes:
        planes: ``[3, h, w]`` uint8 RGB, resized.
        hw: height and width that it had before.
        large: where it is looked at in tiles, the image as it was; its planes are empty then.
    """

    planes: Tensor
    hw: tuple[int, int]
    large: PixelRows | None = None


def prepare(image: AnyImage | PixelRows, sides: Sides, in_tiles: InTiles | None) -> Prepared:
    """Return an image as the detector looks at it; may be called in any thread.

    Args:
        image: of any kind, or the rows of a large one.
        sides: to which it is resized.
        in_tiles: what looks at large ones in tiles; None: none is looked at so.

    Raises:
        UserError: if it cannot be read.
    """
    if isinstance(image, PixelRows):
        empty = torch.empty(3, 0, 0, dtype=torch.uint8)
        return Prepared(empty, (image.height, image.width), image)
    if in_tiles is not None and isinstance(image, str | os.PathLike):
        path = Path(os.path.expanduser(os.fspath(image)))
        large = rows_of(path) if path.is_file() else None
        if large is not None:
            return prepare(large, sides, in_tiles)
    pixels = rgb_pixels(image)
    height, width = pixels.shape[:2]
    if in_tiles is not None and in_tiles.cuts(height, width):
        return prepare(InMemory(pixels), sides, in_tiles)
    return Prepared(torch.from_numpy(planes(sides.inner(pixels))), (height, width))
