"""Which class is taken for which: objects and detections paired whatever their classes.

Legend: ``C`` classes; row and column ``C`` are background.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fcos_lightning.evaluation.matches import Matches, Pairs, near_pairs

if TYPE_CHECKING:
    from numpy.typing import NDArray


def confusion_matrix(matches: Matches, score: float) -> NDArray[np.int64]:
    """Count objects of each class by the class that they were taken for.

    Detections that are right stand on the diagonal. What is left of detections and objects is
    paired by overlap, the highest first, each once, where it reaches the overlap of the matching:
    those were taken for another class. Detections without an object are in the row of background,
    objects without a detection in its column. Ignored objects, and detections on them, are left
    out.

    Args:
        matches: of the data set.
        score: weaker detections are left out.

    Returns:
        ``[C + 1, C + 1]``; rows are the true classes, columns those that were detected.
    """
    classes = len(matches.truth.class_names)
    strong = matches.scores >= score
    right = matches.right & strong
    found = np.zeros(len(matches.found_by), dtype=np.bool_)
    found[matches.object_of[right]] = True
    wrong = np.flatnonzero(matches.wrong & strong)
    missed = matches.counted & ~found

    pairs = near_pairs(matches, matches.wrong & strong, matches.iou)
    pairs = highest_first(pairs.take(missed[pairs.object]))
    seen = np.full(len(matches.scores), classes)
    seen[pairs.detection] = matches.truth.labels[pairs.object]
    taken = np.zeros(len(missed), dtype=np.bool_)
    taken[pairs.object] = True
    unseen = np.flatnonzero(missed & ~taken)

    matrix = np.zeros((classes + 1, classes + 1), dtype=np.int64)
    np.add.at(matrix, (matches.labels[right], matches.labels[right]), 1)
    np.add.at(matrix, (seen[wrong], matches.labels[wrong]), 1)
    matrix[:, classes] += np.bincount(matches.truth.labels[unseen], minlength=classes + 1)
    return matrix


def highest_first(pairs: Pairs) -> Pairs:
    """Keep of the pairs the highest in overlap, then the highest of those that are left, ...

    No detection and no object is kept twice. Of equal overlaps the earlier detection wins, then
    the earlier object.
    """
    order = np.lexsort((pairs.object, pairs.detection, -pairs.iou))
    detection, wanted = pairs.detection[order], pairs.object[order]
    kept = []
    left = np.arange(len(order))
    while len(left):
        # The first pair of a detection that is also the first of its object is kept by any order.
        first_of_detection = np.zeros(len(left), dtype=np.bool_)
        first_of_object = np.zeros(len(left), dtype=np.bool_)
        first_of_detection[np.unique(detection[left], return_index=True)[1]] = True
        first_of_object[np.unique(wanted[left], return_index=True)[1]] = True
        chosen = left[first_of_detection & first_of_object]
        kept.append(chosen)
        gone = np.isin(detection[left], detection[chosen]) | np.isin(wanted[left], wanted[chosen])
        left = left[~gone]
    rows = order[np.sort(np.concatenate(kept))] if kept else order
    return Pairs(pairs.detection[rows], pairs.object[rows], pairs.iou[rows])
