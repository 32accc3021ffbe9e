"""Boxes that training keeps, and that can hardly be meant so.

Legend: ``M`` boxes of a set.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from fcos_lightning.data.readers.plausible import beyond_image
from fcos_lightning.doctor.check import Check, Examined, ExaminedSet
from fcos_lightning.doctor.findings import Finding, More
from fcos_lightning.evaluation.coco_arrays import overlap_of_pairs
from fcos_lightning.evaluation.detections import blocks_of_rows, pairs_of_groups, xywh_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Two boxes that overlap by more are one.
SAME_IOU = 0.95
#: A box that leaves no more of a side than this share of it covers the image.
_RIM = 0.01


class _BoxesThat(Check):
    """Boxes of an image of known size that something is true of, each told in words."""

    free = True

    def __call__(self, data: Examined) -> Iterator[Finding | More]:
        """Yield each."""
        for one in data.sets:
            rows = np.flatnonzero(self._true_of(one) & one.sized)
            yield from one.at_boxes(rows, partial(self._told, one))

    @abstractmethod
    def _true_of(self, one: ExaminedSet) -> NDArray[np.bool_]:
        """Return of which boxes it is true, ``[M]``."""

    @abstractmethod
    def _told(self, one: ExaminedSet, row: int) -> str:
        """Return what is said of the box in this row."""


class TinyBox(_BoxesThat):
    """A box of a pixel: a click rather than an object."""

    code = "box.one_pixel"
    severity = "warning"
    title = "boxes that are one pixel or less wide or high"
    advice = "remove them, if they are clicks: hardly anything can be learnt from them"

    def _true_of(self, one: ExaminedSet) -> NDArray[np.bool_]:
        tiny: NDArray[np.bool_] = _sides(one).min(axis=1, initial=np.inf) <= 1
        return tiny

    def _told(self, one: ExaminedSet, row: int) -> str:
        width, height = _sides(one)[row].tolist()
        return f"{one.class_of(row)} of {width:.3g} x {height:.3g} pixels"


class WholeImage(_BoxesThat):
    """A box around all of its image."""

    code = "box.whole_image"
    severity = "note"
    title = "boxes that cover their image"
    advice = "see that they are meant: tools make such boxes where an image was only given a class"

    def _true_of(self, one: ExaminedSet) -> NDArray[np.bool_]:
        truth = one.split.truth
        size_wh = truth.sizes_hw[one.image_of_box][:, ::-1]
        rim = _RIM * size_wh
        covers = (truth.boxes_xyxy[:, :2] <= rim) & (truth.boxes_xyxy[:, 2:] >= size_wh - rim)
        return covers.all(axis=1) & ~truth.ignored

    def _told(self, one: ExaminedSet, row: int) -> str:
        return f"{one.class_of(row)} covers the image"


class SticksOut(_BoxesThat):
    """A box that leaves its image in part."""

    code = "box.sticks_out"
    severity = "warning"
    title = "boxes that stick out of their image by more than a pixel"
    advice = "clip them; training does so itself"

    def _true_of(self, one: ExaminedSet) -> NDArray[np.bool_]:
        truth = one.split.truth
        return beyond_image(truth.boxes_xyxy, truth.sizes_hw[one.image_of_box])

    def _told(self, one: ExaminedSet, row: int) -> str:
        height, width = one.split.truth.sizes_hw[one.image_of_box[row]].tolist()
        return f"{one.class_of(row)} leaves its image of {width} x {height}"


def _sides(one: ExaminedSet) -> NDArray[np.float64]:
    """Return width and height of each box, ``[M, 2]``."""
    boxes = one.split.truth.boxes_xyxy
    return boxes[:, 2:] - boxes[:, :2]


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
