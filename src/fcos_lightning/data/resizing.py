"""The size at which a detector sees an image, in training, evaluation and prediction alike."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray


def fitting_scale(height: int, width: int, shorter: float, longer: float) -> float:
    """Return the factor that gives the shorter side one length, the longer one at most another.

    The way detectors are trained and tested: 800 and 1333 in the paper.

    Args:
        height: of the image in pixels.
        width: of the image in pixels.
        shorter: length of the shorter side in pixels.
        longer: what the longer side may at most become, in pixels.
    """
    return min(shorter / min(height, width), longer / max(height, width))


def resized_hw(height: int, width: int, scale: float) -> tuple[int, int]:
    """Return the size that ``resized`` gives an image of this one."""
    return max(1, round(height * scale)), max(1, round(width * scale))


def resized(image: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    """Return an image ``[H, W, 3]`` scaled by a factor, each side to whole pixels, at least one.

    Shrinking averages the pixels it merges; growing is bilinear.
    """
    height, width = image.shape[:2]
    new_height, new_width = resized_hw(height, width, scale)
    if (new_height, new_width) == (height, width):
        return image
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return cv2.resize(image, (new_width, new_height), interpolation=interpolation).astype(
        np.uint8, copy=False
    )


@dataclass(frozen=True)
class Sides:
    """How large a detector sees pictures.

    Attributes:
        shorter: side in pixels after resizing.
        longer: what the longer side may at most become.
        size_hw: height and width that every picture has, black beside what it holds; None: its own.
    """

    shorter: int
    longer: int
    size_hw: tuple[int, int] | None = None

    def scale(self, height: int, width: int) -> float:
        """Return the factor by which an image of a size is resized."""
        if self.size_hw is None:
            return fitting_scale(height, width, self.shorter, self.longer)
        return min(self.size_hw[0] / height, self.size_hw[1] / width)

    def inner(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return an image ``[H, W, 3]`` resized, without black beside it."""
        return resized(image, self.scale(*image.shape[:2]))

    def inner_hw(self, height: int, width: int) -> tuple[int, int]:
        """Return the height and width of what an image of a given size becomes, without black."""
        return resized_hw(height, width, self.scale(height, width))

    def seen(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return an image ``[H, W, 3]`` as the detector sees it."""
        small = self.inner(image)
        if self.size_hw is None:
            return small
        whole = np.zeros((*self.size_hw, 3), np.uint8)
        whole[: small.shape[0], : small.shape[1]] = small
        return whole


def planes(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a contiguous ``[3, H, W]`` copy of an image ``[H, W, 3]``.

    OpenCV takes the colours apart several times as fast as numpy copies a transposed array.
    """
    apart = np.empty((3, *image.shape[:2]), dtype=np.uint8)
    cv2.split(image, list(apart))
    return apart
