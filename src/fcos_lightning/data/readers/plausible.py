"""What annotations state that cannot be, or hardly: tools and converters make such mistakes.

Legend: ``M`` boxes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

NOT_FINITE = "with NaN or infinite coordinates"
TOO_FAR = "reaching further than any image can"
NO_AREA = "of zero or negative size"
OUTSIDE = "outside the image"

#: No side of an image is longer; such numbers still fit into float32, and so do their products.
FAR_PX = 2.0**31


def plausible_areas(
    xyxy: NDArray[np.float64], stated_px: NDArray[np.float64]
) -> tuple[NDArray[np.float64], list[str]]:
    """Take the box's area where none is stated, or one that no outline in the box can have.

    Some converters state 0, -1, one number for all, or parts of the image. COCO's areas are those
    of outlines drawn in whole pixels, which may stand out by one on each side.

    Args:
        xyxy: ``[M, 4]``.
        stated_px: ``[M]``; NaN where not annotated.

    Returns:
        ``[M]``, and what is to be said of it.
    """
    x1, y1, x2, y2 = xyxy.T
    width, height = x2 - x1, y2 - y1
    box_px = width * height
    stated = ~np.isnan(stated_px)
    cannot = (stated_px <= 0) | (stated_px > (width + 2) * (height + 2))
    cannot |= (stated_px < 1) & (box_px > 1000)
    if (
        len(box_px) >= 10
        and stated_px.min() == stated_px.max()
        and box_px.max() > 1.5 * box_px.min()
    ):
        cannot = stated
    areas: NDArray[np.float64] = np.where(stated & ~cannot, stated_px, box_px)
    if not cannot.any():
        return areas, []
    return areas, [
        f"{int(cannot.sum())} of {int(stated.sum())} areas cannot be those of objects in their "
        "boxes; the areas of the boxes are taken"
    ]


def odd_places(
    xyxy: NDArray[np.float64], sizes_hw: NDArray[np.int64], sides_stated: bool
) -> list[str]:
    """Say what is odd about where boxes lie in their images.

    Args:
        xyxy: ``[M, 4]``.
        sizes_hw: ``[M, 2]`` of the image of each.
        sides_stated: the files state width and height of a box, not its right and bottom end.
    """
    if not len(xyxy):
        return []
    x1, y1, x2, y2 = xyxy.T
    height, width = sizes_hw.T
    remarks = []
    beyond = (x1 < -1) | (y1 < -1) | (x2 > width + 1) | (y2 > height + 1)
    if number := np.count_nonzero(beyond):
        remarks.append(
            f"{number} of {len(xyxy)} boxes stick out of their image by more than a pixel; they "
            "are kept"
        )
    if sides_stated and number >= 0.05 * len(xyxy):
        stated_w, stated_h = x2 - x1, y2 - y1
        corners = (stated_w > x1) & (stated_h > y1)
        if (corners & (stated_w <= width + 1) & (stated_h <= height + 1)).all():
            remarks.append(
                "every bbox would fit as x1, y1, x2, y2, but COCO's are x, y, width, height: "
                "correct them"
            )
    if xyxy.max() <= 1:
        remarks.append(
            "every box lies within the first pixel: boxes have to be in pixels, not in parts of "
            "the image"
        )
    return remarks


def faults(xyxy: NDArray[np.float64], sizes_hw: NDArray[np.int64]) -> dict[str, NDArray[np.bool_]]:
    """Return which boxes cannot be used, ``[M]`` for each reason; ``sizes_hw`` is ``[M, 2]``."""
    x1, y1, x2, y2 = np.ascontiguousarray(xyxy.T)
    height, width = np.ascontiguousarray(sizes_hw.T)
    finite = np.isfinite(x1) & np.isfinite(y1) & np.isfinite(x2) & np.isfinite(y2)
    # Far enough out, x + width rounds to x: a size is judged by the corners that are kept.
    no_area = (x2 <= x1) | (y2 <= y1)
    outside = (x2 <= 0) | (y2 <= 0) | (x1 >= width) | (y1 >= height)
    too_far = (np.abs(x1) > FAR_PX) | (np.abs(y1) > FAR_PX) | (x2 > FAR_PX) | (y2 > FAR_PX)
    return {NOT_FINITE: ~finite, TOO_FAR: too_far, NO_AREA: no_area, OUTSIDE: outside}
