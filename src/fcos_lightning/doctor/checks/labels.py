"""Labels that a detector contradicts, the most doubtful first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from fcos_lightning.doctor.check import Check, Examined, ExaminedSet
from fcos_lightning.doctor.findings import Finding
from fcos_lightning.doctor.label_scores import Judged
from fcos_lightning.evaluation.matches import Matches
from fcos_lightning.printing import class_label

#: A label whose score is lower is told.
_MISSED, _MISPLACED, _SWAPPED = 0.35, 0.65, 0.45
#: A box of the same class that is less similar than this is another object's.
_SAME_OBJECT = 0.3
#: A detection that is more similar than this to a box of any class found that object.
_ANNOTATED = 0.45


class MissedLabel(Check):
    """A sure detection where nothing is annotated."""

    code = "label.missed"
    severity = "warning"
    title = "objects that the detector is sure of, and that are not annotated"
    advice = "look at them, the most doubtful first, and annotate those that are there"

    def __call__(self, data: Examined) -> Iterator[Finding]:
        """Yield each, the least likely label first."""
        for one, judged in _judged(data):
            matches, scores = judged.matches, judged.scores
            # One near a box of another class is that box's question.
            doubtful = (scores.missed < _MISSED) & (scores.near < _ANNOTATED)
            rows = np.flatnonzero(doubtful & matches.wrong)
            for row in rows[np.argsort(scores.missed[rows], kind="stable")].tolist():
                said = f"{_class_of(matches, row)}, detected with {matches.scores[row]:.2f}"
                found = one.at_image(int(matches.positions[row]), f"{said}, is not annotated")
                yield replace(
                    found,
                    found=_box(matches, row),
                    place=_place(matches, row),
                    score=float(scores.missed[row]),
                )


class MisplacedLabel(Check):
    """A box that a detection of its class fits badly."""

    code = "label.misplaced"
    severity = "warning"
    title = "boxes that lie otherwise than the detector finds their objects"
    advice = "look at them, the most doubtful first, and correct those that are loose or shifted"

    def __call__(self, data: Examined) -> Iterator[Finding]:
        """Yield each, the worst first."""
        for one, judged in _judged(data):
            matches, scores = judged.matches, judged.scores
            # One that is sure to be of another class is told there.
            doubtful = (scores.misplaced < _MISPLACED) & (scores.misplaced > _SAME_OBJECT)
            rows = np.flatnonzero(doubtful & (scores.swapped >= _SWAPPED))
            # A detection that found another box better says nothing of this one.
            by = scores.placed_by[rows]
            rows = rows[(scores.nearest[by] == rows) & (matches.scores[by] > 0)]
            for row in rows[np.argsort(scores.misplaced[rows], kind="stable")].tolist():
                by_row = int(scores.placed_by[row])
                score = float(scores.misplaced[row])
                said = f"{one.class_of(row)}: similar by {score:.2f} to what was found"
                found = one.at_box(row, said)
                yield replace(found, found=_box(matches, by_row), score=score)


class SwappedLabel(Check):
    """A box that a sure detection of another class fits."""

    code = "label.swapped"
    severity = "warning"
    title = "boxes that the detector is sure to be of another class"
    advice = "look at them, the most doubtful first, and correct the class of those that are wrong"

    def __call__(self, data: Examined) -> Iterator[Finding]:
        """Yield each, the worst first."""
        for one, judged in _judged(data):
            matches, scores = judged.matches, judged.scores
            # Where its own class was found as well, two objects may lie in each other.
            own = matches.found_score() >= judged.likely
            rows = np.flatnonzero((scores.swapped < _SWAPPED) & ~own)
            rows = rows[~matches.right[scores.swapped_by[rows]]]
            for row in rows[np.argsort(scores.swapped[rows], kind="stable")].tolist():
                by = int(scores.swapped_by[row])
                said = (
                    f"{one.class_of(row)} is {_class_of(matches, by)} to the detector, with "
                    f"{matches.scores[by]:.2f}"
                )
                found = one.at_box(row, said)
                yield replace(found, found=_box(matches, by), score=float(scores.swapped[row]))


def _judged(data: Examined) -> Iterator[tuple[ExaminedSet, Judged]]:
    for one in data.sets:
        if one.judged is not None:
            yield one, one.judged


def _class_of(matches: Matches, row: int) -> str:
    return class_label(matches.truth.class_names[matches.labels[row]])


def _box(matches: Matches, row: int) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = (round(float(one), 1) for one in matches.table.boxes_xyxy[row])
    return x1, y1, x2, y2


def _place(matches: Matches, row: int) -> str:
    return "x1, y1, x2, y2 = " + ", ".join(f"{one:g}" for one in _box(matches, row))
