"""COCO's matching and counting of boxes, over all images at once.

The definition is ``pycocotools.cocoeval``, whose loops over images, classes, thresholds and boxes
are followed here in the same arithmetic, so that even overlaps that equal a threshold fall on the
same side. Boxes of different images or classes never meet: the best detection of every image and
class chooses its object at the same time, then every second best, and so on.

Legend: ``K`` detections, ``M`` objects, ``P`` pairs of the two, ``C`` classes, ``S`` ranges of
size, ``T`` overlaps that are asked for, ``R`` recalls. A group is one class in one image.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from fcos_lightning.evaluation.detections import (
    DetectionTable,
    image_of_box,
    pairs_of_groups,
    xywh_of,
)
from fcos_lightning.structures import GroundTruth

if TYPE_CHECKING:
    from numpy.typing import NDArray

# The parameters of `pycocotools.cocoeval.Params`, computed as there.
OVERLAPS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0.0, 1.0, 101)
# All, small, medium, large: least and greatest area in px; both belong to the range.
_LEAST_PX, _GREATEST_PX = np.array([[0, 0, 32**2, 96**2], [1e10, 32**2, 96**2, 1e10]])
# So many detections of an image and class are looked at.
_LIMITS = (1, 10, 100)


@dataclass(frozen=True, eq=False)
class Grouped:
    """Detections or objects, group after group: by class, then by image id.

    Detections of a group are best first, and no more than the 100 that are looked at.

    Attributes:
        rows: ``[K]`` int64, which row of the table or of the ground truth each is.
        xywh: ``[K, 4]`` float64 pixels.
        group: ``[K]`` int64, ascending; class times number of images plus place of the image.
    """

    rows: NDArray[np.int64]
    xywh: NDArray[np.float64]
    group: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class LeftOut:
    """What does not count in each of ``S`` parts of a data set, such as ranges of size.

    Attributes:
        detections: ``[K, S]`` bool, by rows of the table: finding nothing is not wrong.
        objects: ``[M, S]`` bool, by rows of the ground truth: finding it is neither right nor
            wrong, as for a crowd.
    """

    detections: NDArray[np.bool_]
    objects: NDArray[np.bool_]


def grouped(
    truth: GroundTruth, detections: DetectionTable, positions: NDArray[np.int64]
) -> tuple[Grouped, Grouped]:
    """Put the detections that are looked at, and the objects, in the order of matching.

    Args:
        truth: annotations of the images to be evaluated.
        detections: boxes in the frame of the original images.
        positions: ``[K]`` int64, in which image of ``truth`` each detection lies.
    """
    images = len(truth)
    # By image id, because that decides between equal scores of different images.
    place = np.unique(truth.image_ids, return_inverse=True)[1].reshape(-1)

    group = truth.labels * images + place[image_of_box(truth)]
    order = np.argsort(group, kind="stable")
    wanted = Grouped(order, xywh_of(truth.boxes_xyxy)[order], group[order])

    group = detections.labels * images + place[positions]
    order = np.lexsort((-detections.scores.astype(np.float64), group))
    order = order[_place_in_group(group[order]) < _LIMITS[-1]]
    return Grouped(order, xywh_of(detections.boxes_xyxy)[order], group[order]), wanted


@dataclass(frozen=True, eq=False)
class Judged:
    """What is right and what is wrong, in the order of matching.

    Attributes:
        found: the detections.
        wanted: the objects.
        optional: ``[M, S]`` bool, which objects do not count in each part.
        right: ``[S, T, K]`` bool.
        wrong: ``[S, T, K]`` bool; what is neither does not count.
    """

    found: Grouped
    wanted: Grouped
    optional: NDArray[np.bool_]
    right: NDArray[np.bool_]
    wrong: NDArray[np.bool_]


def judged_parts(
    truth: GroundTruth,
    detections: DetectionTable,
    positions: NDArray[np.int64],
    left_out: LeftOut | None = None,
) -> Judged:
    """Judge detections as COCO does, in each part of a data set; see ``precision_and_recall``."""
    found, wanted = grouped(truth, detections, positions)
    crowd = truth.ignored[wanted.rows]
    if left_out is None:
        excused = _of_another_size(found.xywh[:, 2] * found.xywh[:, 3])
        optional = _of_another_size(truth.areas_px[wanted.rows])
    else:
        excused, optional = left_out.detections[found.rows], left_out.objects[wanted.rows]
    optional = crowd[:, None] | optional
    right, wrong, _ = judge(found, wanted, crowd, excused, optional)
    return Judged(found, wanted, optional, right, wrong)


def precision_and_recall(
    truth: GroundTruth,
    detections: DetectionTable,
    positions: NDArray[np.int64],
    left_out: LeftOut | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Evaluate boxes as COCO does.

    Args:
        truth: annotations of the images to be evaluated.
        detections: boxes in the frame of the original images.
        positions: ``[K]`` int64, in which image of ``truth`` each detection lies.
        left_out: the parts to evaluate; None: all sizes, small, medium, large.

    Returns:
        Precision ``[T, R, C, S]`` with 100 detections per image and class, and recall
        ``[T, C, S, 3]`` with 1, 10 and 100; -1 where there is nothing to find.
    """
    images, classes = len(truth), len(truth.class_names)
    judged = judged_parts(truth, detections, positions, left_out)
    found, wanted, optional = judged.found, judged.wanted, judged.optional
    right, wrong = judged.right, judged.wrong
    order, rank = found.rows, _place_in_group(found.group)
    scores = detections.scores.astype(np.float64)
    bounds = np.arange(classes + 1) * images
    found_bounds, wanted_bounds = (np.searchsorted(b.group, bounds) for b in (found, wanted))
    parts = optional.shape[1]
    precision = np.full((len(OVERLAPS), len(RECALLS), classes, parts), -1.0)
    recall = np.full((len(OVERLAPS), classes, parts, len(_LIMITS)), -1.0)
    for label in range(classes):
        rows = slice(found_bounds[label], found_bounds[label + 1])
        by_score = rows.start + np.argsort(-scores[order[rows]], kind="stable")
        counted = ~optional[wanted_bounds[label] : wanted_bounds[label + 1]]
        for size, objects in enumerate(counted.sum(axis=0)):
            if objects == 0:
                continue
            precision[:, :, label, size] = precision_at_recalls(
                right[size].take(by_score, axis=1), wrong[size].take(by_score, axis=1), objects
            )
            for column, limit in enumerate(_LIMITS):
                hits = right[size, :, rows] & (rank[rows] < limit)
                recall[:, label, size, column] = hits.sum(axis=1) / objects
    return precision, recall


def _place_in_group(group: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number the rows of each group from 0; ``group`` ascends."""
    return np.arange(len(group)) - np.searchsorted(group, group)


def _of_another_size(areas_px: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which areas lie outside each range of size: ``[K]`` to ``[K, S]``."""
    outside: NDArray[np.bool_] = (areas_px[:, None] < _LEAST_PX) | (
        areas_px[:, None] > _GREATEST_PX
    )
    return outside


def judge(
    found: Grouped,
    wanted: Grouped,
    crowd: NDArray[np.bool_],
    excused: NDArray[np.bool_],
    optional: NDArray[np.bool_],
    overlaps: NDArray[np.float64] = OVERLAPS,
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.int32]]:
    """Which detections are right, which are wrong (others are neither), and what they found.

    A detection takes, of the objects of its group that overlap it enough and that no better one
    has taken, the one it overlaps most: of those that count if there is any, else of those that
    do not. A crowd can be taken by many. Of equal overlaps the later object wins.

    Args:
        found: the detections.
        wanted: the objects.
        crowd: ``[M]`` bool, which objects are crowds.
        excused: ``[K, S]`` bool, which detections are not wrong if they find nothing.
        optional: ``[M, S]`` bool, which objects do not count; crowds are among them.
        overlaps: ``[T]`` the least overlaps to be judged by, ascending.

    Returns:
        Three ``[S, T, K]`` arrays: right, wrong, and the place of the object in ``wanted``, -1
        where there is none.
    """
    wrong = np.repeat(~excused.T[:, None], len(overlaps), axis=1)
    right = np.zeros_like(wrong)
    object_of = np.full(wrong.shape, -1, dtype=np.int32)
    taken = np.zeros((len(wanted.group), *wrong.shape[:2]), dtype=np.bool_)

    pair_found, pair_wanted = pairs_of_groups(found.group, wanted.group)
    overlap = overlap_of_pairs(found.xywh[pair_found], wanted.xywh[pair_wanted], crowd[pair_wanted])
    enough = overlap >= overlaps[0]
    pair_found, pair_wanted, overlap = pair_found[enough], pair_wanted[enough], overlap[enough]

    # Detections take their turns: the first of each group that overlaps anything, the second, ...
    candidates, candidate = np.unique(pair_found, return_inverse=True)
    turn = _place_in_group(found.group[candidates])[candidate]
    order = np.lexsort((pair_wanted, overlap, pair_found, turn))
    pair_found, pair_wanted, turn = pair_found[order], pair_wanted[order], turn[order]
    overlap = overlap[order]
    begins = np.flatnonzero(np.diff(turn, prepend=-1))
    for begin, end in pairwise([*begins, len(turn)]):
        who, what = pair_found[begin:end], pair_wanted[begin:end]
        free = ~(taken[what] & ~crowd[what, None, None])
        free &= overlap[begin:end, None, None] >= overlaps[:, None].T
        # The last of a detection's pairs that is free wins, and any that counts before all others.
        pairs = end - begin
        number = np.arange(1, pairs + 1)[:, None] + pairs * ~optional[what]
        start = np.flatnonzero(np.diff(who, prepend=-1))
        best = np.maximum.reduceat(np.where(free, number[:, :, None], 0), start, axis=0)
        chose, size, threshold = np.nonzero(best)
        winner = best[chose, size, threshold] - 1
        taken[what[winner % pairs], size, threshold] = True
        right[size, threshold, who[start[chose]]] = winner >= pairs
        wrong[size, threshold, who[start[chose]]] = False
        object_of[size, threshold, who[start[chose]]] = what[winner % pairs]
    return right, wrong, object_of


def overlap_of_pairs(
    found_xywh: NDArray[np.float64], wanted_xywh: NDArray[np.float64], crowd: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """IoU of row with row, ``[P]``; of a crowd, the share of the detection that lies within it."""
    top_left = np.maximum(found_xywh[:, :2], wanted_xywh[:, :2])
    ends = (xywh[:, :2] + xywh[:, 2:] for xywh in (found_xywh, wanted_xywh))
    shared = (np.minimum(*ends) - top_left).clip(min=0).prod(axis=1)
    found_px, wanted_px = found_xywh[:, 2:].prod(axis=1), wanted_xywh[:, 2:].prod(axis=1)
    union = np.where(crowd, found_px, found_px + wanted_px - shared)
    overlap: NDArray[np.float64] = np.divide(
        shared, union, out=np.zeros_like(shared), where=shared > 0
    )
    return overlap


def precision_at_recalls(
    right: NDArray[np.bool_], wrong: NDArray[np.bool_], objects: int
) -> NDArray[np.float64]:
    """Best precision at each recall or above it, for one class.

    Args:
        right: ``[T, K]``, best first.
        wrong: likewise.
        objects: number of those to be found.

    Returns:
        ``[T, R]``; 0 where the recall is not reached.
    """
    right_so_far, wrong_so_far = np.cumsum(right, axis=1), np.cumsum(wrong, axis=1)
    # The smallest number spares a division by zero, as in pycocotools.
    precision = right_so_far / (wrong_so_far + right_so_far + np.spacing(1))
    falling = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    recall = right_so_far / objects
    at_recall = np.zeros((len(right), len(RECALLS)))
    for row, reached, best in zip(at_recall, recall, falling, strict=True):
        first = np.searchsorted(reached, RECALLS)
        within = first < len(reached)
        row[within] = best[first[within]]
    return at_recall
