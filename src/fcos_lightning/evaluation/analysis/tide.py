"""Why detections are wrong and objects missed, and the AP that each kind of error costs.

The definition is TIDE's: D. Bolya et al., "TIDE: A General Toolbox for Identifying Object Detection
Errors", ECCV 2020, arXiv 2008.08115, sections 2.2 and 2.3. Each kind is mended by itself, all else
staying as it is; the gain in AP is what it costs. Where a detection is of several kinds, the order
of the authors' program decides: box, class, duplicate, background, both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from fcos_lightning.evaluation.analysis.curves import in_order
from fcos_lightning.evaluation.coco_arrays import precision_at_recalls
from fcos_lightning.evaluation.matches import Matches, best_pairs, near_pairs

if TYPE_CHECKING:
    from numpy.typing import NDArray

Kind = Literal["class", "box", "both", "duplicate", "background", "missed"]
#: The six kinds, in the paper's order; those of a detection are numbered by their place.
KINDS: tuple[Kind, ...] = ("class", "box", "both", "duplicate", "background", "missed")
_CLASS, _BOX, _BOTH, _DUPLICATE, _BACKGROUND, _MISSED = range(6)
#: Below this overlap with every object, a detection is on the background.
BACKGROUND_IOU = 0.1


@dataclass(frozen=True, eq=False)
class Errors:
    """The kind of each error of a data set.

    Attributes:
        matches: of the data set.
        kind: ``[K]`` int64, place in ``KINDS`` of each detection that is wrong, -1 of others.
        near: ``[K]`` int64, for kinds ``class`` and ``box`` the object that was meant, else -1.
        missed: ``[M]`` bool, objects that nothing found and no error of class or box explains.
    """

    matches: Matches
    kind: NDArray[np.int64]
    near: NDArray[np.int64]
    missed: NDArray[np.bool_]

    def counts(self) -> dict[Kind, int]:
        """How many errors of each kind there are, at any score."""
        numbers = np.bincount(self.kind[self.kind >= 0], minlength=len(KINDS))
        numbers[_MISSED] = self.missed.sum()
        return dict(zip(KINDS, numbers.tolist(), strict=True))


def errors_of(matches: Matches) -> Errors:
    """Tell for every wrong detection what is wrong with it, and which objects were missed."""
    wrong = matches.wrong
    pairs = near_pairs(matches, wrong, BACKGROUND_IOU)
    same_class = matches.labels[pairs.detection] == matches.truth.labels[pairs.object]
    own, other = best_pairs(pairs.take(same_class)), best_pairs(pairs.take(~same_class))

    # By detection: the highest overlap with an object of its class and of another, and which.
    overlap = np.zeros((2, len(wrong)))
    nearest = np.full((2, len(wrong)), -1, dtype=np.int64)
    for row, best in enumerate((own, other)):
        overlap[row, best.detection] = best.iou
        nearest[row, best.detection] = best.object
    kind = np.full(len(wrong), _BOTH, dtype=np.int64)
    kind[overlap.max(axis=0, initial=0.0) < BACKGROUND_IOU] = _BACKGROUND
    kind[overlap[0] >= matches.iou] = _DUPLICATE
    kind[overlap[1] >= matches.iou] = _CLASS
    kind[(overlap[0] >= BACKGROUND_IOU) & (overlap[0] < matches.iou)] = _BOX
    kind[~wrong] = -1

    near = np.full(len(wrong), -1, dtype=np.int64)
    near[kind == _BOX] = nearest[0, kind == _BOX]
    near[kind == _CLASS] = nearest[1, kind == _CLASS]
    missed = matches.counted & (matches.found_by < 0)
    missed[near[near >= 0]] = False
    return Errors(matches, kind, near, missed)


def costs_of(errors: Errors) -> dict[Kind, float]:
    """Return the AP that mending each kind alone would bring, at the overlap of the matching.

    Mended are: the class of a detection, or its box, which makes it right, but of several that
    find the same object the strongest alone stays; both, duplicates and background are left out;
    missed objects are not asked for. As in the paper a cost is no less than 0.
    """
    before = _mean_ap(errors, None)
    return {kind: max(_mean_ap(errors, kind) - before, 0.0) for kind in KINDS}


def _mean_ap(errors: Errors, mended: Kind | None) -> float:
    """Mean over the classes that have objects of their AP, after one kind of error is mended."""
    matches = errors.matches
    labels, right, wrong = matches.labels, matches.right.copy(), matches.wrong.copy()
    objects = matches.counted.copy()
    if mended == "missed":
        objects &= ~errors.missed
    elif mended is not None:
        kind = KINDS.index(mended)
        wrong[errors.kind == kind] = False
        if kind in (_CLASS, _BOX):
            labels, right, wrong = _corrected(errors, kind, labels, right, wrong)
    number = len(matches.truth.class_names)
    wanted = np.bincount(matches.truth.labels[matches.counted], minlength=number)
    left = np.bincount(matches.truth.labels[objects], minlength=number)
    figures = []
    order = np.argsort(labels, kind="stable")
    bounds = np.searchsorted(labels[order], np.arange(number + 1))
    for label in np.flatnonzero(wanted):
        rows = order[bounds[label] : bounds[label + 1]]
        found, failed = in_order(matches, rows, right[rows], wrong[rows])
        if left[label]:
            at_recalls = precision_at_recalls(found[None], failed[None], int(left[label]))
            figures.append(float(at_recalls.mean()))
        elif failed.any():
            figures.append(0.0)  # there is nothing to find, and yet something is found
    if not figures:
        return 1.0 if wanted.any() else 0.0
    return float(np.mean(figures))


def _corrected(
    errors: Errors,
    kind: int,
    labels: NDArray[np.int64],
    right: NDArray[np.bool_],
    wrong: NDArray[np.bool_],
) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_]]:
    """Make detections of a kind right; of those that then find the same object one stays."""
    matches = errors.matches
    rows = np.flatnonzero(errors.kind == kind)
    labels = labels.copy()
    labels[rows] = matches.truth.labels[errors.near[rows]]
    claims = np.where(matches.right, matches.object_of, -1)
    claims[rows] = errors.near[rows]
    claiming = np.flatnonzero(claims >= 0)
    order = claiming[np.lexsort((claiming, -matches.scores[claiming]))]
    _, strongest = np.unique(claims[order], return_index=True)
    right = np.zeros_like(right)
    right[order[strongest]] = True
    return labels, right, wrong & ~right
