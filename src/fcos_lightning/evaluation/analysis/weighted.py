"""AP and recall of images that count any number of times, matched once.

What a draw of images needs is put in order beforehand; then each takes milliseconds. The figures
are those of ``pycocotools`` to the last place but one, which sums up in another order.

Legend: ``N`` images, ``K`` detections, ``C`` classes, ``S`` ranges of size, ``T`` overlaps, ``Q``
precision-recall curves, ``E`` events: detections that are right at the overlap of their curve.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from fcos_lightning.evaluation.coco_arrays import RECALLS, judged_parts
from fcos_lightning.evaluation.detections import DetectionTable
from fcos_lightning.structures import GroundTruth

if TYPE_CHECKING:
    from numpy.typing import NDArray

    _Number = TypeVar("_Number", bound=np.number[Any])

_TINY = np.spacing(1)
#: A block of curves has about so many events, which a processor keeps at hand.
_EVENTS = 32_768


@dataclass(frozen=True, eq=False)
class _Curves:
    """Some precision-recall curves behind one another, few enough to stay in a processor's cache.

    Attributes:
        curve: ``[Q]`` which curves of the range these are, class times overlaps plus overlap.
        label: ``[Q]`` of which class each is.
        length: ``[Q]`` events of each, at least one.
        begin: ``[Q]`` the first event of each.
        image: ``[E]`` of each event: of a detection that is right at the curve's overlap.
        before: ``[E]`` so many of the range's ``judged`` are as good as the event or better.
        other_image: of detections that are judged at some overlaps only, this curve's among them.
        other_before: ``[E]`` so many of those are as good as the event or better.
        first_other: ``[Q]`` the first of those of each curve.
    """

    curve: NDArray[np.int64]
    label: NDArray[np.int64]
    length: NDArray[np.int64]
    begin: NDArray[np.int64]
    image: NDArray[np.int64]
    before: NDArray[np.int64]
    other_image: NDArray[np.int64]
    other_before: NDArray[np.int64]
    first_other: NDArray[np.int64]

    def figures(
        self,
        weight: NDArray[np.int64],
        recalls: _Recalls,
        judged: NDArray[np.int64],
        first_judged: NDArray[np.int64],
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """AP and recall of each curve, ``[Q]``.

        Args:
            weight: ``[N]`` how often each image counts.
            recalls: of the objects that are to be found, drawn so often.
            judged: sums over the range's ``judged``.
            first_judged: ``[C]`` where each class begins among them.
        """
        length, begin = self.length, self.begin
        sums = _sums(_at(weight, self.image))
        right = sums[1:] - np.repeat(sums[begin], length)
        kept = _at(judged, self.before)
        base = judged[first_judged[self.label]]
        if len(self.other_image):
            others = _sums(_at(weight, self.other_image))
            kept += _at(others, self.other_before)
            base += others[self.first_other]
        kept -= np.repeat(base, length)
        precision = right / (kept + _TINY)

        place = _at(recalls.places, right + np.repeat(recalls.first[self.label], length))
        more = np.empty_like(place)
        np.subtract(place[1:], place[:-1], out=more[1:])
        more[begin] = place[begin] + 1
        # Of the events that reach no further recall only the best precision counts.
        steps = np.flatnonzero(more != 0)
        best = np.maximum.reduceat(precision, steps)
        first = np.searchsorted(steps, begin)
        # The best at this recall or above it: from the end, each curve above those behind it.
        above = np.repeat(2.0 * np.arange(len(length), 0, -1), np.diff(first, append=len(steps)))
        best = np.maximum.accumulate((best + above)[::-1])[::-1] - above
        ap = np.add.reduceat(best * more[steps], first) / len(RECALLS)
        return ap, right[begin + length - 1] / np.maximum(recalls.objects[self.label], 1)


class _Recalls:
    """How many of COCO's recalls are reached when so many objects are found.

    Attributes:
        objects: ``[C]`` how many there are of each class.
        first: ``[C]`` where the class begins in ``places``.
        places: the last recall that is reached, for 0, 1, 2, ... objects found of each class.
    """

    def __init__(self, objects: NDArray[np.int64]) -> None:
        self.objects = objects
        self.first = np.cumsum(objects + 1) - (objects + 1)
        found = np.arange(int((objects + 1).sum())) - np.repeat(self.first, objects + 1)
        reached = found / np.repeat(np.maximum(objects, 1), objects + 1)
        places = (reached * 100 + 1e-9).astype(np.int16)
        places -= RECALLS[places] > reached  # as floating point has it, as in pycocotools
        self.places = places


@dataclass(frozen=True, eq=False)
class Range:
    """One range of size, ready to be weighed.

    Attributes:
        shape: ``C, T``.
        judged: images of the detections that are right or wrong at every overlap, class after
            class, best first.
        first_judged: ``[C + 1]`` where each class begins among those.
        objects: images of the objects that count, class after class.
        first_object: ``[C + 1]`` where each class begins among those.
        blocks: the curves that have an event.
    """

    shape: tuple[int, int]
    judged: NDArray[np.int64]
    first_judged: NDArray[np.int64]
    objects: NDArray[np.int64]
    first_object: NDArray[np.int64]
    blocks: tuple[_Curves, ...]

    def figures(self, weight: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """AP and recall of each class and overlap, ``[C, T]``; NaN where nothing is to be found.

        Args:
            weight: ``[N]`` how often each image counts.
        """
        objects = np.diff(_sums(_at(weight, self.objects))[self.first_object])
        recalls, judged = _Recalls(objects), _sums(_at(weight, self.judged))
        ap, recall = np.zeros(self.shape), np.zeros(self.shape)
        for block in self.blocks:
            ap.flat[block.curve], recall.flat[block.curve] = block.figures(
                weight, recalls, judged, self.first_judged
            )
        ap[objects == 0] = recall[objects == 0] = np.nan
        return ap, recall


def _at(values: NDArray[_Number], places: NDArray[np.int64]) -> NDArray[_Number]:
    # Unlike brackets, this lets other threads go on; every place is there, so none is clipped.
    return values.take(places, mode="clip")


def _sums(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sums of the first 0, 1, 2, ... values."""
    sums = np.zeros(len(values) + 1, dtype=np.int64)
    np.cumsum(values, out=sums[1:])
    return sums


def ranges_of(truth: GroundTruth, table: DetectionTable) -> list[Range]:
    """Match once, and put what a draw needs in order: one part for each range of size."""
    images, classes = len(truth), len(truth.class_names)
    judged = judged_parts(truth, table, table.image_positions(truth))
    found, wanted = judged.found, judged.wanted
    # From places by image id back to places in the truth.
    by_id = np.argsort(truth.image_ids, kind="stable")
    label, place = np.divmod(found.group, images)
    order = np.lexsort((-table.scores[found.rows].astype(np.float64), label))
    label, image = label[order], by_id[place[order]]
    wanted_label, wanted_place = np.divmod(wanted.group, images)
    bounds = np.arange(classes + 1)
    ranges = []
    for right, wrong, optional in zip(judged.right, judged.wrong, judged.optional.T, strict=True):
        is_right = right[:, order]
        either = is_right | wrong[:, order]
        always = either.all(axis=0)
        # What follows the last right one of its class lies beyond the end of every curve.
        last = np.full(classes, -1)
        event = np.flatnonzero(is_right.any(axis=0))
        last[label[event]] = event  # ascending: the last one stays
        kept = always & (np.arange(len(label)) <= last[label])
        objects = np.flatnonzero(~optional)
        ranges.append(
            Range(
                shape=(classes, len(right)),
                judged=image[kept],
                first_judged=np.searchsorted(label[kept], bounds),
                objects=by_id[wanted_place[objects]],
                first_object=np.searchsorted(wanted_label[objects], bounds),
                blocks=tuple(_blocks(is_right, either & ~always, label, image, np.cumsum(kept))),
            )
        )
    return ranges


def _blocks(
    is_right: NDArray[np.bool_],
    is_other: NDArray[np.bool_],
    label: NDArray[np.int64],
    image: NDArray[np.int64],
    judged_so_far: NDArray[np.int64],
) -> Iterator[_Curves]:
    """Cut the curves of a range into blocks of about ``_EVENTS`` events."""
    overlaps = len(is_right)
    curve, row = _by_curve(is_right, label)
    other_curve, other_row = _by_curve(is_other, label)
    curves, first = np.unique(curve, return_index=True)
    ends = np.append(first[1:], len(curve))
    part = first // _EVENTS
    for block in np.split(np.arange(len(curves)), np.flatnonzero(np.diff(part)) + 1):
        if not len(block):
            continue
        events = slice(first[block[0]], ends[block[-1]])
        low, high = np.searchsorted(other_curve, (curves[block[0]], curves[block[-1]] + 1))
        others = slice(int(low), int(high))
        key = other_curve[others] * len(label) + other_row[others]
        yield _Curves(
            curve=curves[block],
            label=curves[block] // overlaps,
            length=ends[block] - first[block],
            begin=first[block] - first[block[0]],
            image=image[row[events]],
            before=judged_so_far[row[events]],
            other_image=image[other_row[others]],
            other_before=np.searchsorted(key, curve[events] * len(label) + row[events], "right"),
            first_other=np.searchsorted(key, curves[block] * len(label)),
        )


def _by_curve(
    chosen: NDArray[np.bool_], label: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Curve and row of what is chosen, ``[T, K]``, curve after curve, best first."""
    row, overlap = np.nonzero(chosen.T)
    curve = label[row] * len(chosen) + overlap
    order = np.argsort(curve, kind="stable")
    return curve[order], row[order]
