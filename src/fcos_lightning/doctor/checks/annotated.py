"""Annotation files: what a reader could not use of them, and what belongs to nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from fcos_lightning.data.readers.coco import UNKNOWN_IMAGE
from fcos_lightning.data.readers.plausible import (
    NO_AREA,
    NOT_FINITE,
    OUTSIDE,
    TOO_FAR,
    odd_places,
)
from fcos_lightning.data.splits import NO_BOX
from fcos_lightning.doctor.check import Check, Examined, ExaminedSet, parted
from fcos_lightning.doctor.findings import MOST_KEPT, Finding, More


class _Complaints(Check):
    """What readers complain of under this code."""

    def __call__(self, data: Examined) -> Iterator[Finding | More]:
        """Yield each that was kept, and how many more there are."""
        for one in data.sets:
            for said in one.heard.complaints:
                if said.code == self.code:
                    yield Finding(said.message, one.name, said.file, said.place)
            kept = sum(said.code == self.code for said in one.heard.complaints)
            if more := one.heard.counts[self.code] - kept:
                yield More(more, one.name)


class UnreadableAnnotation(_Complaints):
    """A file, a line or an entry that is none of its format."""

    code = "annotation.unreadable"
    severity = "error"
    title = "annotations that cannot be read"
    advice = "correct them: training stops at the first"


class UnknownClass(_Complaints):
    """A box of a class that is not listed."""

    code = "class.unknown"
    severity = "error"
    title = "boxes of a class that is not among the known ones"
    advice = (
        "correct the boxes, or the list of classes; the classes are those of the training set "
        "where no file lists them"
    )


class _LeftOut(Check):
    """Boxes that training leaves out, for one reason."""

    severity = "warning"
    advice = (
        "correct or remove them: training leaves them out, and learns their objects as background"
    )
    reason: ClassVar[str]

    def __call__(self, data: Examined) -> Iterator[Finding | More]:
        """Yield each; where only their number is known, so many."""
        for one in data.sets:
            yield from self._of(one)

    def _of(self, one: ExaminedSet) -> Iterator[Finding | More]:
        raw = one.heard.boxes
        if raw is None or self.reason not in raw.faults:
            for _ in range(one.split.dropped.get(self.reason, 0)):
                yield Finding(f"a box {self.reason}", one.name)
            return
        sized = raw.sizes_hw.min(axis=1, initial=1)[raw.image] > 0
        earlier = np.zeros(len(raw.xyxy), dtype=bool)
        for reason, bad in raw.faults.items():
            if reason == self.reason:
                break
            earlier |= bad
        rows = np.flatnonzero(raw.faults[self.reason] & sized & ~earlier)
        if len(rows) > MOST_KEPT:
            yield More(len(rows) - MOST_KEPT, one.name)
        for row in rows[:MOST_KEPT].tolist():
            corners = ", ".join(f"{corner:g}" for corner in raw.xyxy[row].tolist())
            file, place = parted(raw.where(row))
            image = int(raw.image[row])
            said = f"a box {self.reason}: x1, y1, x2, y2 = {corners}"
            yield Finding(said, one.name, file, place, image)


class NoBox(_LeftOut):
    """An entry without a box."""

    code = "annotation.no_box"
    title = "entries without a box"
    reason = NO_BOX


class UnlistedImage(_LeftOut):
    """A box of an image that its file does not list."""

    code = "annotation.no_image"
    title = "boxes of images that are not listed"
    reason = UNKNOWN_IMAGE


class NotFinite(_LeftOut):
    """A box with NaN or infinite corners."""

    code = "box.not_finite"
    title = "boxes with corners that are no numbers"
    reason = NOT_FINITE


class TooFar(_LeftOut):
    """A box with corners beyond any image."""

    code = "box.too_far"
    title = "boxes that reach further than any image can"
    reason = TOO_FAR


class NoArea(_LeftOut):
    """A box without width or height, or with negative ones."""

    code = "box.no_area"
    title = "boxes of zero or negative size"
    reason = NO_AREA


class Outside(_LeftOut):
    """A box beside its image."""

    code = "box.outside"
    title = "boxes outside of their image"
    reason = OUTSIDE


class Remark(Check):
    """What readers say of a set that no other check says."""

    code = "annotation.remark"
    severity = "note"
    title = "remarks on how files were read"
    advice = "see that it is meant so"

    def __call__(self, data: Examined) -> Iterator[Finding | More]:
        """Yield each."""
        for one in data.sets:
            truth = one.split.truth
            places = truth.sizes_hw.take(one.image_of_box, axis=0)
            own = {
                said
                for sides in (True, False)
                for said in odd_places(truth.boxes_xyxy, places, sides)
            }
            for said in one.split.remarks:
                if said not in own:
                    yield Finding(said, one.name)
