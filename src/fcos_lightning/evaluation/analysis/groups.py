"""AP by size, by aspect and by the number of objects in the image; objects missed by crowding.

Each group is evaluated as COCO evaluates a range of sizes: objects outside of it do not count, and
detections outside of it that find nothing are not wrong.

Legend: ``K`` detections, ``M`` objects, ``N`` images, ``S`` groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fcos_lightning.evaluation.coco_arrays import (
    LeftOut,
    overlap_of_pairs,
    precision_and_recall,
)
from fcos_lightning.evaluation.detections import pairs_of_groups, xywh_of
from fcos_lightning.evaluation.matches import Matches

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Group:
    """A range of one quantity: ``least <= value < below``.

    Attributes:
        name: for people.
        least: of the quantity.
        below: likewise.
    """

    name: str
    least: float
    below: float

    def holds(self, values: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which values lie within."""
        within: NDArray[np.bool_] = (values >= self.least) & (values < self.below)
        return within


#: Side of a square of the object's area, in pixels of the original image; COCO's bounds are among
#: them.
SIZES = (
    Group("below 16 px", 0, 16),
    Group("16 to 32 px", 16, 32),
    Group("32 to 64 px", 32, 64),
    Group("64 to 96 px", 64, 96),
    Group("96 to 192 px", 96, 192),
    Group("192 px and more", 192, np.inf),
)
#: Width by height.
ASPECTS = (
    Group("very high, below 1:3", 0, 1 / 3),
    Group("high, 1:3 to 2:3", 1 / 3, 2 / 3),
    Group("about square, 2:3 to 3:2", 2 / 3, 3 / 2),
    Group("wide, 3:2 to 3:1", 3 / 2, 3),
    Group("very wide, 3:1 and more", 3, np.inf),
)
#: Objects that count in the image.
NUMBERS = (
    Group("no object", 0, 1),
    Group("1 object", 1, 2),
    Group("2 to 4 objects", 2, 5),
    Group("5 to 9 objects", 5, 10),
    Group("10 to 19 objects", 10, 20),
    Group("20 objects and more", 20, np.inf),
)
#: The highest overlap with another object that counts.
CROWDING = (
    Group("touches no other", 0, 1e-9),
    Group("overlaps one by less than .2", 1e-9, 0.2),
    Group("overlaps one by .2 to .5", 0.2, 0.5),
    Group("overlaps one by .5 or more", 0.5, np.inf),
)


def ap_by_size(matches: Matches) -> list[dict[str, Any]]:
    """AP of objects of each range of size, see ``SIZES``."""
    table = xywh_of(matches.table.boxes_xyxy)
    sides = np.sqrt(np.clip(table[:, 2] * table[:, 3], 0, None))
    return _figures(matches, SIZES, sides, np.sqrt(matches.truth.areas_px))


def ap_by_aspect(matches: Matches) -> list[dict[str, Any]]:
    """AP of objects of each range of width by height, see ``ASPECTS``."""
    return _figures(
        matches, ASPECTS, _aspect(matches.table.boxes_xyxy), _aspect(matches.truth.boxes_xyxy)
    )


def ap_by_number(matches: Matches) -> list[dict[str, Any]]:
    """AP in images with so many objects that count, see ``NUMBERS``."""
    number = np.bincount(matches.images[matches.counted], minlength=len(matches.truth))
    per_image = number.astype(np.float64)
    rows = _figures(matches, NUMBERS, per_image[matches.positions], per_image[matches.images])
    for row, group in zip(rows, NUMBERS, strict=True):
        row["images"] = int(group.holds(per_image).sum())
    return rows


def _aspect(boxes_xyxy: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    xywh = xywh_of(boxes_xyxy)
    ones = np.ones(len(xywh))
    return np.divide(xywh[:, 2], xywh[:, 3], out=ones, where=xywh[:, 3] > 0)


def _figures(
    matches: Matches,
    groups: Sequence[Group],
    of_detections: NDArray[np.float64],
    of_objects: NDArray[np.float64],
) -> list[dict[str, Any]]:
    """Evaluate each group of one quantity: name, objects, AP, AP50 and recall at 100."""
    inside = np.stack([group.holds(of_objects) for group in groups], axis=1)
    objects = (inside & matches.counted[:, None]).sum(axis=0)
    there = np.flatnonzero(objects)
    found = np.stack([group.holds(of_detections) for group in groups], axis=1)
    precision, recall = precision_and_recall(
        matches.truth,
        matches.table,
        matches.positions,
        LeftOut(~found[:, there], ~inside[:, there]),
    )
    rows: list[dict[str, Any]] = [
        {"group": group.name, "objects": int(number), "AP": None, "AP50": None, "recall": None}
        for group, number in zip(groups, objects, strict=True)
    ]
    for part, row in enumerate(there):
        rows[row]["AP"] = _mean(precision[..., part])
        rows[row]["AP50"] = _mean(precision[0, ..., part])
        rows[row]["recall"] = _mean(recall[..., part, -1])
    return rows


def _mean(values: NDArray[np.float64]) -> float | None:
    known = values[values > -1]
    return float(known.mean()) if known.size else None


def missed_by(
    matches: Matches, groups: Sequence[Group], values: NDArray[np.float64], score: float
) -> list[dict[str, Any]]:
    """Count the objects of each group, and those that no detection of a score found.

    Args:
        matches: of the data set.
        groups: ranges of a quantity.
        values: ``[M]`` the quantity.
        score: weaker detections are left out.
    """
    missed = matches.counted & (matches.found_score() < score)
    rows = []
    for group in groups:
        inside = group.holds(values) & matches.counted
        objects, lost = int(inside.sum()), int((inside & missed).sum())
        share = lost / objects if objects else None
        rows.append({"group": group.name, "objects": objects, "missed": lost, "share": share})
    return rows


def crowding(matches: Matches) -> NDArray[np.float64]:
    """``[M]`` the highest IoU of each object with another one that counts, in its image."""
    objects = np.flatnonzero(matches.counted)
    most = np.zeros(len(matches.truth.labels))
    images = matches.images[objects]
    xywh = xywh_of(matches.truth.boxes_xyxy)
    # Image by image where one holds very many; else as many at a time as make a million pairs.
    per_object = np.bincount(images, minlength=len(matches.truth))[images]
    ends = np.searchsorted(np.cumsum(per_object), np.arange(0, per_object.sum(), 1_000_000)[1:])
    for block in np.split(np.arange(len(objects)), ends):
        first, second = pairs_of_groups(images[block], images)
        first, second = objects[block[first]], objects[second]
        others = first != second
        first, second = first[others], second[others]
        iou = overlap_of_pairs(xywh[first], xywh[second], np.zeros(len(first), dtype=np.bool_))
        np.maximum.at(most, first, iou)
    return most
