"""What annotations state that cannot be, or hardly: tools and converters make such mistakes.

Legend: ``M`` boxes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


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
