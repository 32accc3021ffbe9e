"""Boxes that training keeps, and that can hardly be meant so.

Legend: ``M`` boxes of a set.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from fcos_lightning.data.readers.plausible import beyond_image
from fcos_lightning.doctor.check import Check, Examined, ExaminedSet
from fcos_lightning.doctor.findings import Finding
from fcos_lightning.evaluation.coco_arrays import overlap_of_pairs
from fcos_lightning.evaluation.detections import blocks_of_rows, pairs_of_groups, xywh_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Two boxes that overlap by more are one.
SAME_IOU = 0.95
#: A box that leaves no more of a side than this share of it covers the image.
_RIM = 0.01


class TinyBox(Check):
    """A box of a pixel: a click rather than an object."""

    code = "box.one_pixel"
    severity = "warning"
    title = "boxes that are one pixel or less wide or high"
    advice = "remove them, if they are clicks: hardly anything can be learnt from them"
    free = True

    def __call__(self, data: Examined) -> Iterator[Finding]:
        """Yield each."""
        for one in data.sets:
            boxes = one.split.truth.boxes_xyxy
            sides = boxes[:, 2:] - boxes[:, :2]
            for row in np.flatnonzero(
                (sides.min(axis=1, initial=np.inf) <= 1) & one.sized
            ).tolist():
                width, height = sides[row].tolist()
                said = f"{one.class_of(row)} of {width:.3g} x {height:.3g} pixels"
                yield one.at_box(row, said)


class WholeImage(Check):
    """A box around all of its image."""

    code = "box.whole_image"
    severity = "note"
    title = "boxes that cover their image"
    advice = "see that they are meant: tools make such boxes where an image was only given a class"
    free = True

    def __call__(self, data: Examined) -> Iterator[Finding]:
        """Yield each."""
        for one in data.sets:
            truth = one.split.truth
            size_wh = truth.sizes_hw[one.image_of_box][:, ::-1]
            rim = _RIM * size_wh
            covers = (truth.boxes_xyxy[:, :2] <= rim) & (truth.boxes_xyxy[:, 2:] >= size_wh - rim)
            for row in np.flatnonzero(covers.all(axis=1) & one.sized & ~truth.ignored).tolist():
                yield one.at_box(row, f"{one.class_of(row)} covers the image")


class SticksOut(Check):
    """A box that leaves its image in part."""

    code = "box.sticks_out"
    severity = "warning"
    title = "boxes that stick out of their image by more than a pixel"
    advice = "clip them; training does so itself"
    free = True

    def __call__(self, data: Examined) -> Iterator[Finding]:
        """Yield each."""
        for one in data.sets:
            truth = one.split.truth
            sizes = truth.sizes_hw[one.image_of_box]
            for row in np.flatnonzero(beyond_image(truth.boxes_xyxy, sizes) & one.sized).tolist():
                height, width = sizes[row].tolist()
                yield one.at_box(row, f"{one.class_of(row)} leaves its image of {width} x {height}")


class DuplicateBox(Check):
    """An object that was annotated twice."""

    code = "box.duplicate"
    severity = "warning"
    title = "boxes that overlap one of the same class by more than .95"
    advice = "remove one of the two: a detector that finds the object once misses the other"

    def __call__(self, data: Examined) -> Iterator[Finding]:
        """Yield the later one of each pair, once."""
        yield from _twice(data, same_class=True)


class BoxOfTwoClasses(Check):
    """An object that was given two classes."""

    code = "box.two_classes"
    severity = "warning"
    title = "boxes that overlap one of another class by more than .95"
    advice = "decide for one class: training is told both"

    def __call__(self, data: Examined) -> Iterator[Finding]:
        """Yield the later one of each pair, once."""
        yield from _twice(data, same_class=False)


def _twice(data: Examined, same_class: bool) -> Iterator[Finding]:
    for one in data.sets:
        truth = one.split.truth
        told: set[int] = set()
        for first, second, iou in zip(*same_boxes(one), strict=True):
            if (truth.labels[first] == truth.labels[second]) != same_class or second in told:
                continue
            told.add(second)
            other = "" if same_class else f", the other is {one.class_of(first)}"
            said = f"{one.class_of(second)} overlaps another box by {iou:.3f}{other}"
            yield one.at_box(second, said)


def same_boxes(one: ExaminedSet) -> tuple[list[int], list[int], list[float]]:
    """Return pairs of boxes of an image that are the same: rows, the earlier first, and IoU.

    Boxes to ignore are left out: a crowd may lie around anything.
    """
    truth = one.split.truth
    counted = np.flatnonzero(~truth.ignored)
    images = one.image_of_box[counted]
    boxes = xywh_of(truth.boxes_xyxy[counted])
    found: tuple[list[int], list[int], list[float]] = ([], [], [])
    for some in blocks_of_rows(images, images):
        rows, others = pairs_of_groups(images[some], images)
        rows = some[rows]
        later = others > rows
        rows, others = _alike(boxes, rows[later], others[later])
        iou = overlap_of_pairs(boxes[rows], boxes[others], np.zeros(len(rows), dtype=bool))
        for place in np.flatnonzero(iou > SAME_IOU).tolist():
            found[0].append(int(counted[rows[place]]))
            found[1].append(int(counted[others[place]]))
            found[2].append(float(iou[place]))
    return found


def _alike(
    boxes_xywh: NDArray[np.float64], rows: NDArray[np.int64], others: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Keep pairs whose areas allow of so large an overlap."""
    area = boxes_xywh[:, 2:].prod(axis=1)
    likely = np.minimum(area[rows], area[others]) > SAME_IOU * np.maximum(area[rows], area[others])
    return rows[likely], others[likely]
