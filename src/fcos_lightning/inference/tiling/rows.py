"""The pixels of an image a few rows at a time: from memory, or from a file that allows it."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray


@runtime_checkable
class PixelRows(Protocol):
    """An image that is read from the top to the bottom.

    Attributes:
        height: in pixels.
        width: in pixels.
    """

    height: int
    width: int

    def rows(self, first: int, last: int) -> NDArray[np.uint8]:
        """Return ``[last - first, W, 3]`` uint8 RGB, the rows from ``first`` to before ``last``."""


class InMemory:
    """An image whose pixels are there.

    Args:
        pixels: ``[H, W, 3]`` uint8 RGB.
    """

    def __init__(self, pixels: NDArray[np.uint8]) -> None:
        self.pixels = pixels
        self.height, self.width = pixels.shape[:2]

    def rows(self, first: int, last: int) -> NDArray[np.uint8]:
        """Return a view of some rows."""
        return self.pixels[first:last]
