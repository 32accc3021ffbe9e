"""Which detection found which object, and what else was near it.

The matching is COCO's at one overlap, so that counts made of it and AP50 tell the same story. A
detection's match depends on better ones alone: at any score threshold, those above it are matched
as they are among all.

Legend: ``K`` detections and ``M`` objects, in the order of their tables; ``P`` pairs of the two.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from fcos_lightning.evaluation.coco_arrays import grouped, judge, overlap_of_pairs
from fcos_lightning.evaluation.detections import (
    DetectionTable,
    blocks_of_rows,
    image_of_box,
    pairs_of_groups,
    xywh_of,
)
from fcos_lightning.structures import GroundTruth

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Matches:
    """Detections of a data set beside its objects.

    Attributes:
        truth: the objects.
        table: the detections.
        positions: ``[K]`` int64, in which image each detection lies.
        images: ``[M]`` int64, in which image each object lies.
        scores: ``[K]`` float64.
        right: ``[K]`` bool: found an object that counts, before any other did.
        wrong: ``[K]`` bool. Those on ignored objects are neither right nor wrong, as are those
            beyond the 100 best of their image and class.
        object_of: ``[K]`` int64, the object that was found, -1 where ``right`` is false.
        found_by: ``[M]`` int64, the detection that found it, -1 where there is none.
        iou: the overlap that makes a detection right.
    """

    truth: GroundTruth
    table: DetectionTable
    positions: NDArray[np.int64]
    images: NDArray[np.int64]
    scores: NDArray[np.float64]
    right: NDArray[np.bool_]
    wrong: NDArray[np.bool_]
    object_of: NDArray[np.int64]
    found_by: NDArray[np.int64]
    iou: float

    @property
    def labels(self) -> NDArray[np.int64]:
        """``[K]`` the class of each detection."""
        return self.table.labels

    @property
    def counted(self) -> NDArray[np.bool_]:
        """``[M]`` bool: the objects that are to be found."""
        return ~self.truth.ignored

    @cached_property
    def _by_class(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Rows of the table, class after class; where each class begins; objects of each class."""
        classes = len(self.truth.class_names)
        rows = np.argsort(self.labels, kind="stable")
        objects = np.bincount(self.truth.labels[self.counted], minlength=classes)
        return rows, np.searchsorted(self.labels[rows], np.arange(classes + 1)), objects

    def rows_of(self, label: int | None) -> NDArray[np.int64]:
        """Rows of the table of one class, or of all classes, ascending."""
        if label is None:
            return np.arange(len(self.scores))
        rows, begin, _ = self._by_class
        return rows[begin[label] : begin[label + 1]]

    def objects_of(self, label: int | None) -> int:
        """How many objects of one class, or of all classes, are to be found."""
        objects = self._by_class[2]
        return int(objects.sum() if label is None else objects[label])

    def found_score(self) -> NDArray[np.float64]:
        """``[M]`` score of the detection that found each object; below all scores for none."""
        none = self.found_by < 0
        if not len(self.scores):
            return np.full(len(none), -np.inf)
        return np.where(none, -np.inf, self.scores[self.found_by])


def matched(truth: GroundTruth, table: DetectionTable, iou: float = 0.5) -> Matches:
    """Match detections to objects as COCO does at one overlap, objects of all sizes counting.

    Args:
        truth: annotations of the images.
        table: boxes in pixels of the original images.
        iou: overlap that makes a detection right.

    Raises:
        ValueError: if a detection has an image id or a label that ``truth`` does not know.
    """
    positions = table.image_positions(truth)
    found, wanted = grouped(truth, table, positions)
    crowd = truth.ignored[wanted.rows]
    nobody = np.zeros((len(found.rows), 1), dtype=np.bool_)
    right, wrong, objects = judge(found, wanted, crowd, nobody, crowd[:, None], np.array([iou]))
    of_all = np.zeros((2, len(table)), dtype=np.bool_)
    of_all[:, found.rows] = right[0, 0], wrong[0, 0]
    object_of = np.full(len(table), -1, dtype=np.int64)
    found_by = np.full(len(truth.labels), -1, dtype=np.int64)
    hits = np.flatnonzero(right[0, 0])
    object_of[found.rows[hits]] = wanted.rows[objects[0, 0, hits]]
    found_by[object_of[found.rows[hits]]] = found.rows[hits]
    return Matches(
        truth=truth,
        table=table,
        positions=positions,
        images=image_of_box(truth),
        scores=table.scores.astype(np.float64),
        right=of_all[0],
        wrong=of_all[1],
        object_of=object_of,
        found_by=found_by,
        iou=iou,
    )


@dataclass(frozen=True, eq=False)
class Pairs:
    """Detections and objects of one image that overlap, whatever their classes.

    Attributes:
        detection: ``[P]`` int64 rows of the table, ascending.
        object: ``[P]`` int64 rows of the ground truth, ascending for each detection.
        iou: ``[P]`` float64.
    """

    detection: NDArray[np.int64]
    object: NDArray[np.int64]
    iou: NDArray[np.float64]

    def take(self, chosen: NDArray[np.bool_]) -> Pairs:
        """Return those of ``chosen``, ``[P]`` bool."""
        return Pairs(self.detection[chosen], self.object[chosen], self.iou[chosen])


def near_pairs(matches: Matches, detections: NDArray[np.bool_], least: float = 0.1) -> Pairs:
    """Return the pairs of detections and objects that count, which overlap by ``least`` or more.

    Args:
        matches: of the data set.
        detections: ``[K]`` bool, which to look at.
        least: the smallest IoU that is of interest, above 0.
    """
    objects = np.flatnonzero(matches.counted)
    rows = np.flatnonzero(detections)
    images = matches.images[objects]
    parts = []
    for some in blocks_of_rows(matches.positions[rows], images):
        block = rows[some]
        first, second = pairs_of_groups(matches.positions[block], images)
        detection, wanted = block[first], objects[second]
        iou = overlap_of_pairs(
            xywh_of(matches.table.boxes_xyxy[detection]),
            xywh_of(matches.truth.boxes_xyxy[wanted]),
            np.zeros(len(detection), dtype=np.bool_),
        )
        near = iou >= least
        parts.append((detection[near], wanted[near], iou[near]))
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    return Pairs(*columns)


def best_pairs(pairs: Pairs) -> Pairs:
    """Return for each detection its pair of the highest IoU; of equal ones the later object."""
    order = np.lexsort((pairs.object, pairs.iou, pairs.detection))
    last = np.flatnonzero(np.diff(pairs.detection[order], append=-1))
    chosen = order[last]
    return Pairs(pairs.detection[chosen], pairs.object[chosen], pairs.iou[chosen])
