"""Precision, recall and F1 against the score threshold, and how far scores can be believed.

Legend: ``C`` classes, ``V`` thresholds, ``R`` recalls.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fcos_lightning.evaluation.coco_arrays import precision_at_recalls
from fcos_lightning.evaluation.matches import Matches

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: The thresholds that curves are drawn over.
GRID = np.arange(101) / 100


@dataclass(frozen=True, eq=False)
class Counts:
    """What is found at each of several score thresholds.

    Attributes:
        right: ``[V]`` int64, objects found.
        wrong: ``[V]`` int64, detections that are wrong.
        objects: how many are to be found.
    """

    right: NDArray[np.int64]
    wrong: NDArray[np.int64]
    objects: int

    @property
    def precision(self) -> NDArray[np.float64]:
        """``[V]`` share of the detections that is right; 1 where there is none."""
        kept = self.right + self.wrong
        share: NDArray[np.float64] = np.divide(
            self.right, kept, out=np.ones(len(kept)), where=kept > 0
        )
        return share

    @property
    def recall(self) -> NDArray[np.float64]:
        """``[V]`` share of the objects that is found; 0 where there is none."""
        return self.right / max(self.objects, 1)

    @property
    def f1(self) -> NDArray[np.float64]:
        """``[V]`` harmonic mean of the two: ``2 right / (objects + detections)``."""
        both = self.objects + self.right + self.wrong
        mean: NDArray[np.float64] = np.divide(
            2 * self.right, both, out=np.zeros(len(both)), where=both > 0
        )
        return mean


@dataclass(frozen=True)
class Best:
    """The threshold of the highest F1.

    Attributes:
        threshold: detections of this score or a higher one are kept.
        precision: there.
        recall: there.
        f1: there.
    """

    threshold: float
    precision: float
    recall: float
    f1: float


def counts_at(matches: Matches, thresholds: NDArray[np.float64], label: int | None) -> Counts:
    """Count what is right and wrong at score thresholds.

    Args:
        matches: of the data set.
        thresholds: ``[V]``; a score equal to one is kept.
        label: of one class; None: all classes together.
    """
    rows = matches.rows_of(label)

    def above(chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
        scores = np.sort(matches.scores[rows][chosen[rows]])
        return np.asarray(len(scores) - np.searchsorted(scores, thresholds, side="left"))

    return Counts(above(matches.right), above(matches.wrong), matches.objects_of(label))


def best_threshold(matches: Matches, label: int | None = None) -> Best | None:
    """Return the threshold of the highest F1 of all there are, the higher one of equals.

    It is the shortest decimal that keeps just the detections that the F1 is of.

    Args:
        matches: of the data set.
        label: of one class; None: all classes together.

    Returns:
        None where nothing is right at any threshold.
    """
    rows = matches.rows_of(label)
    scores = np.unique(matches.scores[rows][(matches.right | matches.wrong)[rows]])
    counts = counts_at(matches, scores, label)
    if not len(scores) or not counts.right.any():
        return None
    place = len(scores) - 1 - int(counts.f1[::-1].argmax())
    below = float(scores[place - 1]) if place else 0.0
    return Best(
        threshold=_short_number(below, float(scores[place])),
        precision=float(counts.precision[place]),
        recall=float(counts.recall[place]),
        f1=float(counts.f1[place]),
    )


def _short_number(above: float, upto: float) -> float:
    """Return the shortest decimal that is above one number and not above another."""
    for digits in range(2, 8):
        # A little below the score, which may come out otherwise in the last digit elsewhere.
        candidate = np.floor(upto * 10**digits - 0.1) / 10**digits
        if above < candidate <= upto:
            return float(round(candidate, digits))
    return upto


def precision_recall(matches: Matches, label: int) -> NDArray[np.float64] | None:
    """Return the best precision at each of COCO's 101 recalls or above, at the overlap matched.

    Its mean is the class's AP at that overlap.

    Returns:
        ``[R]``; None for a class without objects.
    """
    objects = matches.objects_of(label)
    if objects == 0:
        return None
    rows = matches.rows_of(label)
    right, wrong = in_order(matches, rows, matches.right[rows], matches.wrong[rows])
    curve: NDArray[np.float64] = precision_at_recalls(right[None], wrong[None], objects)[0]
    return curve


def in_order(
    matches: Matches,
    rows: NDArray[np.int64],
    right: NDArray[np.bool_],
    wrong: NDArray[np.bool_],
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Put detections of one class best first, as COCO orders equal scores: by image id.

    Args:
        matches: of the data set.
        rows: of the table, ascending.
        right: of those rows.
        wrong: of those rows.
    """
    ids = matches.truth.image_ids[matches.positions[rows]]
    order = np.lexsort((rows, ids, -matches.scores[rows]))
    return right[order], wrong[order]


@dataclass(frozen=True, eq=False)
class Calibration:
    """Scores beside the share of detections that is right.

    Attributes:
        edges: ``[B + 1]`` bounds of the scores, the lower one belonging to a bin.
        detections: ``[B]`` int64, how many there are.
        mean_score: ``[B]`` float64, NaN where there is none.
        share_right: ``[B]`` float64, NaN where there is none.
        error: mean difference of the two, weighted by detections: the expected calibration error.
    """

    edges: NDArray[np.float64]
    detections: NDArray[np.int64]
    mean_score: NDArray[np.float64]
    share_right: NDArray[np.float64]
    error: float


def calibration(matches: Matches, bins: int = 10) -> Calibration:
    """Compare scores with the share that is right (Guo et al., 2017, for detections).

    Detections on ignored objects are left out, being neither right nor wrong.
    """
    judged = matches.right | matches.wrong
    scores, right = matches.scores[judged], matches.right[judged]
    edges = np.arange(bins + 1) / bins
    place = np.clip(np.searchsorted(edges, scores, side="right") - 1, 0, bins - 1)
    number = np.bincount(place, minlength=bins)
    divisor = np.where(number > 0, number, np.nan)
    mean_score = np.bincount(place, weights=scores, minlength=bins) / divisor
    share_right = np.bincount(place, weights=right, minlength=bins) / divisor
    gaps = np.nan_to_num(np.abs(mean_score - share_right))
    error = float((gaps * number).sum() / max(number.sum(), 1))
    return Calibration(edges, number, mean_score, share_right, error)
