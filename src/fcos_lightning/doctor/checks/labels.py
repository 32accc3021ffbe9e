"""Labels that a detector contradicts, the most doubtful first."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import replace

from fcos_lightning.doctor.check import Check, Examined, ExaminedSet
from fcos_lightning.doctor.findings import Finding
from fcos_lightning.evaluation.analysis.label_scores import Judged
from fcos_lightning.evaluation.matches import Matches
from fcos_lightning.printing import class_label


class _Doubted(Check):
    """Labels of a low score, each with the detection that contradicts it."""

    def __call__(self, data: Examined) -> Iterator[Finding]:
        """Yield each, the least likely label first."""
        for one in data.sets:
            if one.judged is not None:
                yield from self._of(one, one.judged)

    @abstractmethod
    def _of(self, one: ExaminedSet, judged: Judged) -> Iterator[Finding]:
        """Yield those of a set."""


class MissedLabel(_Doubted):
    """A sure detection where nothing is annotated."""

    code = "label.missed"
    severity = "warning"
    title = "objects that the detector is sure of, and that are not annotated"
    advice = "look at them, the most doubtful first, and annotate those that are there"

    def _of(self, one: ExaminedSet, judged: Judged) -> Iterator[Finding]:
        matches = judged.matches
        for row in judged.missed().tolist():
            said = f"{_class_of(matches, row)}, detected with {matches.scores[row]:.2f}"
            found = one.at_image(int(matches.positions[row]), f"{said}, is not annotated")
            found = replace(found, place=_place(matches, row))
            yield _with(found, matches, row, judged.scores.missed[row])


class MisplacedLabel(_Doubted):
    """A box that a detection of its class fits badly."""

    code = "label.misplaced"
    severity = "warning"
    title = "boxes that lie otherwise than the detector finds their objects"
    advice = "look at them, the most doubtful first, and correct those that are loose or shifted"

    def _of(self, one: ExaminedSet, judged: Judged) -> Iterator[Finding]:
        for row in judged.misplaced().tolist():
            score, by = judged.scores.misplaced[row], int(judged.scores.placed_by[row])
            said = f"{one.class_of(row)}: similar by {score:.2f} to what was found"
            yield _with(one.at_box(row, said), judged.matches, by, score)


class SwappedLabel(_Doubted):
    """A box that a sure detection of another class fits."""

    code = "label.swapped"
    severity = "warning"
    title = "boxes that the detector is sure to be of another class"
    advice = "look at them, the most doubtful first, and correct the class of those that are wrong"

    def _of(self, one: ExaminedSet, judged: Judged) -> Iterator[Finding]:
        matches = judged.matches
        for row in judged.swapped().tolist():
            by = int(judged.scores.swapped_by[row])
            said = (
                f"{one.class_of(row)} is {_class_of(matches, by)} to the detector, with "
                f"{matches.scores[by]:.2f}"
            )
            yield _with(one.at_box(row, said), matches, by, judged.scores.swapped[row])


def _with(finding: Finding, matches: Matches, by: int, score: float) -> Finding:
    """Add the box of the detection that contradicts a label, and the label's score."""
    return replace(finding, found=_box(matches, by), score=float(score))


def _class_of(matches: Matches, row: int) -> str:
    return class_label(matches.truth.class_names[matches.labels[row]])


def _box(matches: Matches, row: int) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = (round(float(one), 1) for one in matches.table.boxes_xyxy[row])
    return x1, y1, x2, y2


def _place(matches: Matches, row: int) -> str:
    return "x1, y1, x2, y2 = " + ", ".join(f"{one:g}" for one in _box(matches, row))
