"""The size at which a detector sees an image, in training, evaluation and prediction alike."""

from __future__ import annotations

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


def planes(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a contiguous ``[3, H, W]`` copy of an image ``[H, W, 3]``.

    OpenCV takes the colours apart several times as fast as numpy copies a transposed array.
    """
    apart = np.empty((3, *image.shape[:2]), dtype=np.uint8)
    cv2.split(image, list(apart))
    return apart
