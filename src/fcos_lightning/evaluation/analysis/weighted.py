"""AP and recall of images that count any number of times, matched once.

Matching and sorting are done beforehand, once for all draws. Then many draws are computed at a
time: how often images count is a table with a row for each image and a column for each draw, and
each step of COCO's evaluation is one sum or one maximum of rows. The figures are those of
``pycocotools`` to the last place but one, which sums up in another order.

Only the last of several right detections without a wrong one between them, a run, is looked at:
whatever the images count, it has the highest precision of its run and the highest recall.

Legend: ``N`` images, ``D`` draws, ``K`` detections, ``C`` classes, ``T`` overlaps, ``U`` runs of a
precision-recall curve, ``V`` places at which a run of any curve of a class ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from fcos_lightning.evaluation.coco_arrays import RECALLS, judged_parts
from fcos_lightning.evaluation.detections import DetectionTable
from fcos_lightning.structures import GroundTruth

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: So many numbers of a curve are computed together, which bounds the memory.
_TOGETHER = 2**22
#: So many draws are computed together at most: the table of images then stays near the processor.
_MOST_DRAWS = 512


@dataclass(frozen=True, eq=False)
class _Bags:
    """Images in groups behind one another; a group may be empty.

    Attributes:
        image: ``[E]`` int64.
        begin: int64, where each group begins.
    """

    image: Tensor
    begin: Tensor

    @classmethod
    def until(
        cls, image: NDArray[np.int64], row: NDArray[np.int64], ends: NDArray[np.int64]
    ) -> _Bags:
        """Group images by the first of some ends that their row does not lie beyond.

        Args:
            image: ``[E]``.
            row: ``[E]`` of each, ascending.
            ends: ascending; what lies beyond the last is left out.
        """
        begin = np.searchsorted(row, ends, side="right")
        kept = image[: begin[-1]] if len(ends) else image[:0]
        return cls(torch.from_numpy(kept), torch.from_numpy(np.append(0, begin)[:-1]))

    def sums(self, weight: Tensor) -> NDArray[np.floating]:
        """How often the images of each group count together, in each draw.

        Args:
            weight: ``[N, D]`` how often each image counts.
        """
        if not len(self.image):
            return np.zeros((len(self.begin), weight.shape[1]), dtype=weight.numpy().dtype)
        sums: NDArray[np.floating] = embedding_bag(
            self.image, weight, self.begin, mode="sum"
        ).numpy()
        return sums

    def sums_so_far(self, weight: Tensor) -> NDArray[np.floating]:
        """The sums of each group and all before it."""
        sums = self.sums(weight)
        for before, row in pairwise(sums):
            np.add(before, row, out=row)
        return sums


@dataclass(frozen=True, eq=False)
class _Curve:
    """The precision-recall curve of a class at an overlap.

    Attributes:
        overlap: which.
        right: images of the detections that are right, run after run: ``U`` groups.
        place: ``[U]`` where each run ends among the places of its class.
        others: images of detections that are judged at this overlap but not at all: ``U`` groups.
    """

    overlap: int
    right: _Bags
    place: NDArray[np.int64]
    others: _Bags

    def figures(
        self, weight: Tensor, recalls: _Recalls, judged: NDArray[np.floating]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """AP and recall in each draw, ``[D]``.

        Args:
            weight: ``[N, D]`` how often each image counts.
            recalls: of the objects that are to be found.
            judged: ``[V, D]`` detections until each place that are judged at every overlap.
        """
        right = self.right.sums_so_far(weight)
        kept = judged.take(self.place, axis=0)
        if len(self.others.image):
            kept += self.others.sums_so_far(weight)
        np.maximum(kept, 1, out=kept)  # where nothing is drawn, nothing is right
        precision = np.divide(right, kept, dtype=np.float64)
        # The best at this recall or above it.
        for above, row in pairwise(precision[::-1]):
            np.maximum(above, row, out=row)
        precision *= recalls.reached_by(right)
        return precision.sum(axis=0) / len(RECALLS), right[-1] / np.maximum(recalls.objects, 1)


class _Recalls:
    """How many of COCO's recalls are reached when so many objects of a class are found.

    Attributes:
        objects: ``[D]`` int64, how many there are in each draw.
    """

    def __init__(self, objects: NDArray[np.int64]) -> None:
        self.objects = objects
        # Draws with as many objects share a row.
        numbers, row = np.unique(objects, return_inverse=True)
        found = np.arange(numbers[-1] + 1)
        reached = np.minimum(found / np.maximum(numbers, 1)[:, None], 1.0)
        number = (reached * 100 + 1e-9).astype(np.int16)
        number -= RECALLS[number] > reached  # as floating point has it, as in pycocotools
        self._number = number.reshape(-1)
        self._row = row.reshape(-1) * len(found)

    def reached_by(self, right: NDArray[np.floating]) -> NDArray[np.int16]:
        """How many recalls each run is the first to reach, ``[U, D]``.

        Args:
            right: ``[U, D]`` objects found until the end of each run.
        """
        place = np.add(right, self._row, dtype=np.int64, casting="unsafe")
        last = self._number.take(place, mode="clip")
        more: NDArray[np.int16] = np.empty_like(last)
        np.subtract(last[1:], last[:-1], out=more[1:])
        np.add(last[0], 1, out=more[0])
        return more


@dataclass(frozen=True, eq=False)
class _Class:
    """What is judged of one class in one range of size.

    Attributes:
        objects: images of the objects that count, as one group.
        judged: images of the detections that are right or wrong at every overlap: ``V`` groups.
        curves: of the overlaps at which anything is right.
    """

    objects: _Bags
    judged: _Bags
    curves: tuple[_Curve, ...]

    @property
    def longest(self) -> int:
        """Rows that are held of it at a time."""
        return max((len(curve.place) for curve in self.curves), default=1)


@dataclass(frozen=True, eq=False)
class Range:
    """One range of size, ready to be weighed.

    Attributes:
        classes: what is judged of each class.
        overlaps: how many there are.
    """

    classes: tuple[_Class, ...]
    overlaps: int

    @property
    def draws_together(self) -> int:
        """How many draws can be computed together in a bounded memory."""
        longest = max((one.longest for one in self.classes), default=1)
        most = max((len(one.objects.image) for one in self.classes), default=1)
        return int(np.clip(_TOGETHER // max(longest, most, 1), 8, _MOST_DRAWS))

    def figures(self, weight: Tensor) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """AP and recall of each class and overlap, ``[D, C, T]``; NaN where nothing is to be found.

        Args:
            weight: ``[N, D]`` how often each image counts; floating point that holds sums exactly.
        """
        shape = (weight.shape[1], len(self.classes), self.overlaps)
        ap, recall = np.zeros(shape), np.zeros(shape)
        for label, one in enumerate(self.classes):
            recalls = _Recalls(one.objects.sums(weight)[0].astype(np.int64))
            judged = one.judged.sums_so_far(weight)
            for curve in one.curves:
                place = (slice(None), label, curve.overlap)
                ap[place], recall[place] = curve.figures(weight, recalls, judged)
            ap[recalls.objects == 0, label] = recall[recalls.objects == 0, label] = np.nan
        return ap, recall


def ranges_of(truth: GroundTruth, table: DetectionTable) -> list[Range]:
    """Match once, and put what a draw needs in order: one part for each range of size."""
    images, classes = len(truth), len(truth.class_names)
    judged = judged_parts(truth, table, table.image_positions(truth))
    found, wanted = judged.found, judged.wanted
    # From places by image id back to places in the truth.
    by_id = np.argsort(truth.image_ids, kind="stable")
    label, place = np.divmod(found.group, images)
    order = np.lexsort((-table.scores[found.rows].astype(np.float64), label))
    image = by_id[place[order]]
    of_class = _slices(label[order], classes)
    wanted_label, wanted_place = np.divmod(wanted.group, images)
    objects_of_class = _slices(wanted_label, classes)
    ranges = []
    for right, wrong, optional in zip(judged.right, judged.wrong, judged.optional.T, strict=True):
        right, wrong = right[:, order], wrong[:, order]
        counted = by_id[wanted_place]
        ranges.append(
            Range(
                tuple(
                    _class(
                        counted[objects][~optional[objects]],
                        right[:, rows],
                        wrong[:, rows],
                        image[rows],
                    )
                    for objects, rows in zip(objects_of_class, of_class, strict=True)
                ),
                overlaps=len(right),
            )
        )
    return ranges


def _slices(labels: NDArray[np.int64], classes: int) -> list[slice]:
    """Where each class is in labels that ascend."""
    bounds = np.searchsorted(labels, np.arange(classes + 1)).tolist()
    return [slice(begin, end) for begin, end in pairwise(bounds)]


def _class(
    objects: NDArray[np.int64],
    right: NDArray[np.bool_],
    wrong: NDArray[np.bool_],
    image: NDArray[np.int64],
) -> _Class:
    """Group what is judged of a class by the runs of its curves.

    Args:
        objects: images of those that count.
        right: ``[T, K]`` of the detections, best first.
        wrong: ``[T, K]``.
        image: ``[K]`` of each.
    """
    judged: NDArray[np.bool_] = right | wrong
    always: NDArray[np.bool_] = np.asarray(judged.all(axis=0))
    ends = {overlap: _ends_of_runs(right[overlap], wrong[overlap]) for overlap in range(len(right))}
    ends = {overlap: rows for overlap, rows in ends.items() if len(rows)}
    places = np.unique(np.concatenate([np.zeros(0, np.int64), *ends.values()]))

    def until(chosen: NDArray[np.bool_], last: NDArray[np.int64]) -> _Bags:
        return _Bags.until(image[chosen], np.flatnonzero(chosen), last)

    return _Class(
        objects=_Bags(torch.from_numpy(objects), torch.zeros(1, dtype=torch.int64)),
        judged=until(always, places),
        curves=tuple(
            _Curve(
                overlap=overlap,
                right=until(right[overlap], rows),
                place=np.searchsorted(places, rows),
                others=until(judged[overlap] & ~always, rows),
            )
            for overlap, rows in ends.items()
        ),
    )


def _ends_of_runs(right: NDArray[np.bool_], wrong: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the right detections that no other follows before a wrong one."""
    rows: NDArray[np.int64] = np.flatnonzero(right)
    # A wrong one follows, or nothing.
    last = np.diff(np.cumsum(wrong)[rows], append=len(wrong) + 1) > 0
    return rows[last]
