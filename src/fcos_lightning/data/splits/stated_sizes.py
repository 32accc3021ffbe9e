"""Sizes of images as annotations state them, against what is there."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from fcos_lightning.data.images import ImageSource, is_turned
from fcos_lightning.errors import UserError


def check_largest(
    sizes_hw: NDArray[np.int64], max_pixels: int, split: str, name_of: Callable[[int], str]
) -> None:
    """Refuse images that are stated to be too large.

    Args:
        sizes_hw: ``[N, 2]`` as annotated.
        max_pixels: of one image.
        split: its name, for the message.
        name_of: what a message calls an image.

    Raises:
        UserError: naming the first.
    """
    large = np.flatnonzero(sizes_hw.prod(axis=1, dtype=np.float64) > max_pixels)
    if len(large):
        height, width = sizes_hw[large[0]]
        raise UserError(
            f"{len(large)} of {len(sizes_hw)} images of {split} are annotated as larger than "
            f"data.max_pixels={max_pixels}, the first is {name_of(large[0])} with "
            f"{width} x {height}: make them smaller, or raise that limit"
        )


def other_size(source: ImageSource, size_hw: tuple[int, int], stated: tuple[int, int]) -> UserError:
    """Return what to say of an image whose size is not the one that is stated.

    Args:
        source: the image.
        size_hw: of its stored pixels.
        stated: as annotated.
    """
    height, width = stated
    if size_hw != (width, height):
        advice = "correct the annotation or the image"
    elif is_turned(source):
        advice = (
            "it seems to have been annotated as turned by its EXIF orientation; store it "
            "turned and without that tag"
        )
    else:
        advice = "the annotation has width and height exchanged; correct it"
    return UserError(
        f"image {source} is {size_hw[1]} x {size_hw[0]} pixels, but annotated as "
        f"{width} x {height}: {advice}"
    )
