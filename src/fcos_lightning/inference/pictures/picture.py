"""One image, or one frame of a video."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fcos_lightning.inference.tiling.rows import PixelRows


@dataclass(frozen=True, eq=False)
class Picture:
    """One image, or one frame of a video.

    Attributes:
        number: position in its source, from 1, unreadable images counted.
        name: of its file below the source's folder, parts separated by ``/``.
        pixels: ``[H, W, 3]`` uint8 RGB, upright.
        frame: position in its video, from 0; None for an image.
        path: of its file; None for a frame.
        large: of an image that is too large to be read at once, its rows; ``pixels`` are empty.
    """

    number: int
    name: str
    pixels: NDArray[np.uint8]
    frame: int | None = None
    path: Path | None = None
    large: PixelRows | None = None

    @property
    def hw(self) -> tuple[int, int]:
        """Height and width, upright."""
        if self.large is not None:
            return self.large.height, self.large.width
        height, width = self.pixels.shape[:2]
        return height, width
