"""Boxes that are stored in another order or unit than their layout has: all of a set at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

import numpy as np

from fcos_lightning.data.readers.plausible import in_fractions, in_pixels, meant_otherwise
from fcos_lightning.doctor.check import Check, Examined, ExaminedSet
from fcos_lightning.doctor.findings import Finding

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: What the four numbers of a box are in each layout, and in words.
_STATED: dict[str, tuple[Literal["xywh", "cxcywh", "xyxy"], str]] = {
    "coco": ("xywh", "x1, y1, width, height"),
    "voc": ("xyxy", "x1, y1, x2, y2"),
    "csv": ("xyxy", "x1, y1, x2, y2"),
    "yolo": ("cxcywh", "centre x, centre y, width, height"),
}


class OtherOrder(Check):
    """Corners in the place of sides, or the other way round."""

    code = "box.order"
    severity = "error"
    title = "sets whose boxes are stored in another order than their layout has"
    advice = "store them as the layout has them: nearly all boxes lie in the wrong place"

    def __call__(self, data: Examined) -> Iterator[Finding]:
        """Yield each set."""
        if data.format not in _STATED:
            return
        stated, words = _STATED[data.format]
        for one in data.sets:
            boxes, sizes = _raw(one)
            if len(boxes) and (meant := meant_otherwise(boxes, sizes, stated)):
                yield Finding(
                    f"read as {words}, many of {len(boxes)} boxes leave their image; as {meant} "
                    "none does",
                    one.name,
                )


class InFractions(Check):
    """Parts of the image in a layout that has pixels."""

    code = "box.fractions"
    severity = "error"
    title = "sets whose boxes are parts of the image where pixels are expected"
    advice = "multiply them by width and height of their image"

    def __call__(self, data: Examined) -> Iterator[Finding]:
        """Yield each set."""
        for one in data.sets if data.format != "yolo" else ():
            boxes, _ = _raw(one)
            if in_fractions(boxes[np.isfinite(boxes).all(axis=1)]):
                yield Finding(f"all {len(boxes)} boxes lie within the first pixel", one.name)


class InPixels(Check):
    """Pixels in a layout that has parts of the image."""

    code = "box.pixels"
    severity = "error"
    title = "sets whose boxes are pixels where parts of the image are expected"
    advice = "divide them by width and height of their image"

    def __call__(self, data: Examined) -> Iterator[Finding]:
        """Yield each set."""
        for one in data.sets if data.format == "yolo" else ():
            boxes, sizes = _raw(one)
            parts = boxes / sizes[:, [1, 0, 1, 0]]
            if in_pixels(parts[np.isfinite(parts).all(axis=1)]):
                yield Finding(f"most of {len(boxes)} boxes reach far beyond 1", one.name)


def _raw(one: ExaminedSet) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return boxes as read, none left out, and the sizes of their images, where these are known."""
    raw = one.heard.boxes
    if raw is None:
        truth = one.split.truth
        return truth.boxes_xyxy[one.sized], truth.sizes_hw[one.image_of_box][one.sized]
    sizes = raw.sizes_hw[raw.image]
    sized = (sizes > 0).all(axis=1)
    return raw.xyxy[sized], sizes[sized]
