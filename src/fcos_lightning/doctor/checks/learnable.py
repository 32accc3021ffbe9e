"""Boxes that the chosen method cannot learn at the chosen size."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fcos_lightning.doctor.check import Check, Examined
from fcos_lightning.doctor.findings import Finding


class TooSmall(Check):
    """A box in which no level has a point that answers for it."""

    code = "box.no_point"
    severity = "warning"
    title = "boxes that no point of any level answers for, at this image size"
    advice = "see the advice on sizes: larger images, or a finer level"

    def __call__(self, data: Examined) -> Iterator[Finding]:
        """Yield each, of the training images that were looked at."""
        yield from _without_point(data, crowded=False)


class CrowdedOut(Check):
    """A box of which other boxes take all points."""

    code = "box.crowded_out"
    severity = "warning"
    title = "boxes of which other boxes take all points"
    advice = (
        "where two boxes are one object, remove one; else a larger data.shorter_side= parts them"
    )

    def __call__(self, data: Examined) -> Iterator[Finding]:
        """Yield each, of the training images that were looked at."""
        yield from _without_point(data, crowded=True)


def _without_point(data: Examined, crowded: bool) -> Iterator[Finding]:
    if data.learnt is None:
        return
    learnt, one = data.learnt, data.train
    for place in np.flatnonzero((learnt.points == 0) & (learnt.alone == crowded)).tolist():
        row = int(learnt.rows[place])
        width, height = learnt.sides[place].tolist()
        why = "others take all its points" if crowded else "no point answers for it"
        said = f"{one.class_of(row)} of {width:.3g} x {height:.3g} pixels after resizing: {why}"
        yield one.at_box(row, said)
