"""How likely each label is right, by what a detector says: missed, misplaced, swapped.

The three scores of ObjectLab (Tkachenko, Thyagarajan and Mueller, arXiv 2309.00832), from 0, surely
wrong, to 1. Where the paper trusts detections of .95 and more, here it is the detector's own score
of which, and above which, nine in ten detections are right: what a score means differs by method.

Legend: ``K`` detections, ``M`` boxes of the ground truth, ``P`` pairs of the two in one image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fcos_lightning.evaluation.analysis.curves import best_threshold
from fcos_lightning.evaluation.coco_arrays import overlap_of_pairs
from fcos_lightning.evaluation.detections import blocks_of_rows, pairs_of_groups, xywh_of
from fcos_lightning.evaluation.matches import Matches

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: How much of the similarity is overlap, and not the distance of the centres.
_OVERLAP = 0.9
#: Of the detections that are as strong as a sure one, or stronger, so many have to be right.
_SHARE_RIGHT = 0.9
#: A box's place is compared with detections of this score, or of the best threshold if lower.
_LIKELY = 0.5
#: Of the detections that places are compared with, so many have to be right.
_PLACES_RIGHT = 0.5
#: A label whose score is lower is doubted.
_MISSED, _MISPLACED, _SWAPPED = 0.35, 0.65, 0.45
#: A box of the same class that is less similar than this is another object's.
_SAME_OBJECT = 0.3
#: A detection that is more similar than this to a box of any class found that object.
_ANNOTATED = 0.45


@dataclass(frozen=True, eq=False)
class LabelScores:
    """The scores, and what each is by.

    Attributes:
        missed: ``[K]`` of each sure detection that what it found is annotated; NaN of others.
        misplaced: ``[M]`` of each box that it lies where its object is.
        swapped: ``[M]`` of each box that it has its object's class.
        placed_by: ``[M]`` the detection of its class that a box is most similar to; -1 is none.
        swapped_by: ``[M]`` the sure detection of another class that it is most similar to; -1.
        nearest: ``[K]`` the box that a detection is most similar to, of any class; -1 is none.
        near: ``[K]`` how similar it is to that.
    """

    missed: NDArray[np.float64]
    misplaced: NDArray[np.float64]
    swapped: NDArray[np.float64]
    placed_by: NDArray[np.int64]
    swapped_by: NDArray[np.int64]
    nearest: NDArray[np.int64]
    near: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Judged:
    """What a detector found in a set, and what that says of its labels.

    Each method returns rows, the least likely label first.

    Attributes:
        matches: detections beside boxes.
        scores: of the labels.
        sure: score of detections that labels are doubted by; infinite: it is never right enough.
        likely: score of detections that a box's place is compared with.
    """

    matches: Matches
    scores: LabelScores
    sure: float
    likely: float

    def missed(self) -> NDArray[np.int64]:
        """Return sure detections, rows of the table, of what seems not to be annotated."""
        # One near a box of another class is that box's question.
        doubtful = (self.scores.missed < _MISSED) & (self.scores.near < _ANNOTATED)
        return _ranked(np.flatnonzero(doubtful & self.matches.wrong), self.scores.missed)

    def misplaced(self) -> NDArray[np.int64]:
        """Return boxes, rows of the ground truth, that a detection of their class fits badly."""
        if not self._knows_places():
            return np.zeros(0, dtype=np.int64)
        scores = self.scores
        # One that is sure to be of another class is told there.
        doubtful = (scores.misplaced < _MISPLACED) & (scores.misplaced > _SAME_OBJECT)
        rows = np.flatnonzero(doubtful & (scores.swapped >= _SWAPPED))
        # A detection that found another box better says nothing of this one.
        by = scores.placed_by[rows]
        rows = rows[(scores.nearest[by] == rows) & (self.matches.scores[by] > 0)]
        return _ranked(rows, scores.misplaced)

    def _knows_places(self) -> bool:
        """Tell whether a detector is good enough for its boxes to say anything of others'."""
        matches = self.matches
        known = (matches.right | matches.wrong) & (matches.scores >= self.likely)
        right = int((matches.right & known).sum())
        return bool(np.isfinite(self.sure)) and right >= _PLACES_RIGHT * int(known.sum())

    def swapped(self) -> NDArray[np.int64]:
        """Return boxes, rows of the ground truth, that a sure detection of another class fits."""
        # Where its own class was found as well, two objects may lie in each other.
        own = self.matches.found_score() >= self.likely
        rows = np.flatnonzero((self.scores.swapped < _SWAPPED) & ~own)
        rows = rows[~self.matches.right[self.scores.swapped_by[rows]]]
        return _ranked(rows, self.scores.swapped)


def judged(matches: Matches) -> Judged:
    """Score all labels by those detections that can be trusted.

    Sure detections are those above the threshold of the best F1 of which nine in ten are right;
    likely ones reach that threshold, or .5 if that is lower.
    """
    best = best_threshold(matches)
    least = best.threshold if best else np.inf
    sure, likely = max(least, sure_score(matches)), min(_LIKELY, least)
    return Judged(matches, label_scores(matches, sure, likely), sure, likely)


def sure_score(matches: Matches) -> float:
    """Return the lowest score of which, and above which, nearly all detections are right."""
    known = np.flatnonzero(matches.right | matches.wrong)
    order = known[np.argsort(-matches.scores[known], kind="stable")]
    right = np.cumsum(matches.right[order]) / np.arange(1, len(order) + 1)
    enough = np.flatnonzero(right >= _SHARE_RIGHT)
    return float(matches.scores[order[enough[-1]]]) if len(enough) else np.inf


def label_scores(matches: Matches, sure: float, likely: float) -> LabelScores:
    """Score all labels.

    - missed: of a sure detection, its largest similarity with a box of its class; where its image
      has none, 1 less its score;
    - misplaced: of a box, its largest similarity with a likely detection of its class; 1 if there
      is none;
    - swapped: of a box, 1 less its largest similarity with a sure detection of another class; 1 if
      there is none.

    Similarity is ``.9 IoU + .1 exp(-d)``, where d is the distance of the centres in diagonals of
    the annotated box (the paper has pixels, which are worth less in a larger image).

    Args:
        matches: detections and boxes.
        sure: score of detections that labels are doubted by.
        likely: score of detections that a box's place is compared with.
    """
    truth, labels = matches.truth, matches.labels
    detections, boxes = len(matches.table), len(truth.labels)
    missed = np.where(matches.scores >= sure, 1 - matches.scores, np.nan)
    asked = np.zeros(detections, dtype=bool)  # its image has a box of its class
    best_own, best_other = np.full(boxes, -1.0), np.full(boxes, -1.0)
    placed_by, swapped_by = np.full(boxes, -1), np.full(boxes, -1)
    nearest, near = np.full(detections, -1), np.full(detections, -1.0)

    looked_at = np.flatnonzero(matches.scores >= min(sure, likely))
    for block in blocks_of_rows(matches.positions[looked_at], matches.images):
        some = looked_at[block]
        rows, objects = pairs_of_groups(matches.positions[some], matches.images)
        rows = some[rows]
        similar = similarity(matches.table.boxes_xyxy[rows], truth.boxes_xyxy[objects])
        same = labels[rows] == truth.labels[objects]
        is_sure, is_likely = matches.scores[rows] >= sure, matches.scores[rows] >= likely
        counted = ~truth.ignored[objects]

        own = same & is_sure
        first = own & ~asked[rows]
        missed[rows[first]] = -1.0
        asked[rows[own]] = True
        np.maximum.at(missed, rows[own], similar[own])
        _largest(near, nearest, rows, similar, objects)
        placed = same & is_likely & counted
        _largest(best_own, placed_by, objects[placed], similar[placed], rows[placed])
        other = ~same & is_sure & counted
        _largest(best_other, swapped_by, objects[other], similar[other], rows[other])
    return LabelScores(
        missed,
        np.where(placed_by >= 0, best_own, 1.0),
        np.where(swapped_by >= 0, 1 - best_other, 1.0),
        placed_by,
        swapped_by,
        nearest,
        near,
    )


def similarity(
    found_xyxy: NDArray[np.floating[Any]], boxes_xyxy: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return how similar detections and boxes are, row by row, ``[P]`` from 0 to 1."""
    found = found_xyxy.astype(np.float64)
    overlap = overlap_of_pairs(
        xywh_of(found), xywh_of(boxes_xyxy), np.zeros(len(found), dtype=bool)
    )
    apart = np.linalg.norm(
        (found[:, :2] + found[:, 2:] - boxes_xyxy[:, :2] - boxes_xyxy[:, 2:]) / 2, axis=1
    )
    diagonal = np.linalg.norm(boxes_xyxy[:, 2:] - boxes_xyxy[:, :2], axis=1)
    similar: NDArray[np.float64] = _OVERLAP * overlap + (1 - _OVERLAP) * np.exp(-apart / diagonal)
    return similar


def _largest(
    best: NDArray[np.float64],
    by: NDArray[np.int64],
    places: NDArray[np.int64],
    values: NDArray[np.float64],
    names: NDArray[np.int64],
) -> None:
    """Keep for each place the largest value, and the name that it came with; in place."""
    order = np.argsort(values, kind="stable")
    places, values, names = places[order], values[order], names[order]
    better = values > best[places]
    # The last of several assignments to a place stands: the largest.
    best[places[better]], by[places[better]] = values[better], names[better]


def _ranked(rows: NDArray[np.int64], scores: NDArray[np.float64]) -> NDArray[np.int64]:
    return rows[np.argsort(scores[rows], kind="stable")]
