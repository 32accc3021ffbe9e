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
    width, height = xyxy[:, 2] - xyxy[:, 0], xyxy[:, 3] - xyxy[:, 1]
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


def odd_places(xyxy: NDArray[np.float64], sizes_hw: NDArray[np.int64]) -> list[str]:
    """Say what is odd about where boxes ``[M, 4]`` lie in their images ``[M, 2]``."""
    if not len(xyxy):
        return []
    remarks = []
    beyond = (xyxy[:, :2] < -1).any(axis=1) | (xyxy[:, 2:] > sizes_hw[:, ::-1] + 1).any(axis=1)
    if beyond.any():
        remarks.append(
            f"{int(beyond.sum())} of {len(xyxy)} boxes stick out of their image by more than a "
            "pixel; they are kept"
        )
    if (xyxy <= 1).all():
        remarks.append(
            "every box lies within the first pixel: boxes have to be in pixels, not in parts of "
            "the image"
        )
    return remarks


def perhaps_corners(boxes_xywh: NDArray[np.float64], sizes_hw: NDArray[np.int64]) -> list[str]:
    """Say so if all boxes ``[M, 4]`` fit into their images as x1, y1, x2, y2, but not as COCO's."""
    x, y, w, h = boxes_xywh.T
    height, width = sizes_hw.T
    with np.errstate(over="ignore", invalid="ignore"):
        beyond = (x + w > width + 1) | (y + h > height + 1)
        corners = (w > x) & (h > y) & (w <= width + 1) & (h <= height + 1)
    if not len(x) or not corners.all() or beyond.mean() < 0.05:
        return []
    return [
        "every bbox would fit as x1, y1, x2, y2, but COCO's are x, y, width, height: correct them"
    ]
