"""What annotations state that cannot be, or hardly: tools and converters make such mistakes.

Legend: ``M`` boxes.
"""

from __future__ import annotations

from typing import Literal

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


#: So many of the boxes have to leave their image before another reading of them is looked at.
_SHARE_ASTRAY = 0.05

#: How boxes may be meant that a layout has otherwise: what they are then, of what stands there.
_AS_CORNERS, _AS_SIDES = "x1, y1, x2, y2", "x1, y1, width, height"


def beyond_image(xyxy: NDArray[np.float64], sizes_hw: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tell which boxes stick out of their image by more than a pixel, ``[M]`` bool."""
    x1, y1, x2, y2 = xyxy.T
    height, width = sizes_hw.T
    beyond: NDArray[np.bool_] = (x1 < -1) | (y1 < -1) | (x2 > width + 1) | (y2 > height + 1)
    return beyond


def meant_otherwise(
    xyxy: NDArray[np.float64],
    sizes_hw: NDArray[np.int64],
    stated: Literal["xywh", "cxcywh", "xyxy"],
) -> str | None:
    """Return how boxes are meant that are stored in another order than their layout has.

    As they are read, some leave their image or have a negative size; read otherwise, none does.

    Args:
        xyxy: ``[M, 4]`` as read, none left out.
        sizes_hw: ``[M, 2]`` of the image of each.
        stated: what a box is in the layout.

    Returns:
        What the four numbers are instead, or None where nothing says so.
    """
    # A click, without width or height, is one in any reading.
    sided = (xyxy[:, 2:] != xyxy[:, :2]).all(axis=1)
    xyxy, sizes_hw = xyxy[sided], sizes_hw[sided]
    astray = ~_plausible(xyxy, sizes_hw)
    if astray.sum() < max(1, _SHARE_ASTRAY * len(xyxy)):
        return None
    numbers = xyxy.copy()
    if stated != "xyxy":
        numbers[:, 2:] -= xyxy[:, :2]
    if stated == "cxcywh":
        numbers[:, :2] = (xyxy[:, :2] + xyxy[:, 2:]) / 2
    with_sides = numbers.copy()
    with_sides[:, 2:] += numbers[:, :2]
    readings = {_AS_CORNERS: numbers, _AS_SIDES: with_sides}
    readings.pop({"xyxy": _AS_CORNERS, "xywh": _AS_SIDES}.get(stated, ""), None)
    for meant, boxes in readings.items():
        if _plausible(boxes, sizes_hw).all():
            return meant
    return None


def _plausible(xyxy: NDArray[np.float64], sizes_hw: NDArray[np.int64]) -> NDArray[np.bool_]:
    with np.errstate(invalid="ignore"):
        sides = xyxy[:, 2:] > xyxy[:, :2]
        return np.isfinite(xyxy).all(axis=1) & sides.all(axis=1) & ~beyond_image(xyxy, sizes_hw)


def in_fractions(xyxy: NDArray[np.float64]) -> bool:
    """Tell whether boxes in pixels must be parts of their image: all lie in the first pixel."""
    return bool(len(xyxy)) and float(xyxy.max()) <= 1


def in_pixels(parts: NDArray[np.float64]) -> bool:
    """Tell whether boxes in parts of their image ``[M, 4]`` must be pixels."""
    return bool(len(parts)) and float(np.median(np.abs(parts))) > 2


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
    remarks = []
    if number := np.count_nonzero(beyond_image(xyxy, sizes_hw)):
        remarks.append(
            f"{number} of {len(xyxy)} boxes stick out of their image by more than a pixel; they "
            "are kept"
        )
    if sides_stated and meant_otherwise(xyxy, sizes_hw, "xywh"):
        remarks.append(
            "every bbox would fit as x1, y1, x2, y2, but COCO's are x, y, width, height: "
            "correct them"
        )
    if in_fractions(xyxy):
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
