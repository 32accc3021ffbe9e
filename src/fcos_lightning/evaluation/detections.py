"""Detections of a whole data set in flat arrays, which both evaluations and the files read.

Legend: ``K`` detections, ``N`` images and ``M`` boxes of the ground truth, ``C`` classes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fcos_lightning.structures import Detections, GroundTruth

if TYPE_CHECKING:
    from numpy.typing import NDArray


#: So many pairs of rows are looked at together, which bounds the memory.
PAIRS_AT_A_TIME = 500_000


@dataclass(frozen=True, eq=False)
class DetectionTable:
    """Detections of many images, in pixels of the original images.

    The order of an image's rows decides between equal scores: the earlier one counts as better.

    Attributes:
        image_ids: ``[K]`` int64, ids as in the ground truth.
        boxes_xyxy: ``[K, 4]`` float32 or float64 pixels.
        scores: ``[K]`` float32 or float64.
        labels: ``[K]`` int64, 0-based.

    Raises:
        ValueError: if the shapes do not fit each other, or a box or score is not finite.
    """

    image_ids: NDArray[np.int64]
    boxes_xyxy: NDArray[np.floating[Any]]
    scores: NDArray[np.floating[Any]]
    labels: NDArray[np.int64]

    def __post_init__(self) -> None:
        rows = len(self.image_ids)
        shapes = (self.boxes_xyxy.shape, self.scores.shape, self.labels.shape)
        if shapes != ((rows, 4), (rows,), (rows,)):
            raise ValueError(
                f"{rows} image ids need boxes [{rows}, 4], scores [{rows}] and labels [{rows}], "
                f"not {[list(shape) for shape in shapes]}"
            )
        broken = ~(np.isfinite(self.boxes_xyxy).all(axis=1) & np.isfinite(self.scores))
        if broken.any():
            raise ValueError(
                f"detection of image {self.image_ids[broken.argmax()]} has a box or a score "
                "that is not finite"
            )

    def __len__(self) -> int:
        return len(self.image_ids)

    @classmethod
    def from_detections(cls, per_image: Iterable[tuple[int, Detections]]) -> DetectionTable:
        """Join the detections of single images, keeping their order.

        Args:
            per_image: image id and its detections, in pixels of the original image.
        """
        ids, boxes, scores, labels = [], [], [], []
        for image_id, found in per_image:
            ids.append(np.full(len(found), image_id, dtype=np.int64))
            boxes.append(found.boxes_xyxy.detach().float().cpu().numpy().reshape(-1, 4))
            scores.append(found.scores.detach().float().cpu().numpy())
            labels.append(found.labels.detach().cpu().numpy().astype(np.int64))
        return cls(
            image_ids=np.concatenate([np.empty(0, np.int64), *ids]),
            boxes_xyxy=np.concatenate([np.empty((0, 4), np.float32), *boxes]),
            scores=np.concatenate([np.empty(0, np.float32), *scores]),
            labels=np.concatenate([np.empty(0, np.int64), *labels]),
        )

    @property
    def none_has_area(self) -> bool:
        """Whether there are boxes, and all lack an extent: what distances that are 0 give."""
        flat = (self.boxes_xyxy[:, 2:] <= self.boxes_xyxy[:, :2]).any(axis=1)
        return len(self) > 0 and bool(flat.all())

    def image_positions(self, truth: GroundTruth) -> NDArray[np.int64]:
        """Where each row's image stands in the ground truth.

        Returns:
            ``[K]`` int64, from 0 to ``N - 1``.

        Raises:
            ValueError: if an image id or a label is unknown to the ground truth.
        """
        unknown = ~np.isin(self.image_ids, truth.image_ids)
        if unknown.any():
            raise ValueError(
                f"detection of image {self.image_ids[unknown.argmax()]}, "
                "which the ground truth does not have"
            )
        wrong = (self.labels < 0) | (self.labels >= len(truth.class_names))
        if wrong.any():
            raise ValueError(
                f"detection with label {self.labels[wrong.argmax()]}, "
                f"but the ground truth has {len(truth.class_names)} classes"
            )
        order = np.argsort(truth.image_ids, kind="stable")
        positions: NDArray[np.int64] = order[
            np.searchsorted(truth.image_ids, self.image_ids, sorter=order)
        ]
        return positions


def xywh_of(boxes_xyxy: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Corner and size, as COCO files write boxes: ``[K, 4]`` float64 pixels."""
    boxes = boxes_xyxy.astype(np.float64)
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)


def image_of_box(truth: GroundTruth) -> NDArray[np.int64]:
    """Which image each box of the ground truth lies in: ``[M]`` int64, from 0 to ``N - 1``."""
    return np.repeat(np.arange(len(truth)), np.diff(truth.first_box))


def pairs_of_groups(
    first: NDArray[np.int64], second: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pair each row with every row of the other array that has the same number.

    Args:
        first: ``[K]`` the group of each row.
        second: ``[M]`` likewise, ascending.

    Returns:
        ``[P]`` rows of ``first``, ascending, and ``[P]`` rows of ``second``, ascending for each.
    """
    begin = np.searchsorted(second, first, side="left")
    partners = np.searchsorted(second, first, side="right") - begin
    rows = np.repeat(np.arange(len(first)), partners)
    before = np.cumsum(partners) - partners
    return rows, np.arange(len(rows)) - (before - begin)[rows]


def blocks_of_rows(first: NDArray[np.int64], second: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Split rows so that a block has ``PAIRS_AT_A_TIME`` pairs, see ``pairs_of_groups``.

    Args:
        first: ``[K]`` the group of each row.
        second: ``[M]`` likewise, ascending.

    Returns:
        Rows of ``first``, ascending, block by block; at least one block.
    """
    begin = np.searchsorted(second, first, side="left")
    partners = np.searchsorted(second, first, side="right") - begin
    starts = np.arange(0, partners.sum(), PAIRS_AT_A_TIME)[1:]
    ends = np.searchsorted(np.cumsum(partners), starts, side="left")
    return np.split(np.arange(len(first)), ends)


def counted_boxes(truth: GroundTruth) -> NDArray[np.int64]:
    """Boxes of each class a detector is expected to find, the ignored ones left out: ``[C]``."""
    return np.bincount(truth.labels[~truth.ignored], minlength=len(truth.class_names))


def class_keys(truth: GroundTruth) -> list[str]:
    """One key per class for the tables: its name, with the id where two classes share a name."""
    return keys_of(truth.class_names, truth.category_ids)


def keys_of(names: Sequence[str], category_ids: Sequence[int] | None) -> list[str]:
    """One key for each of these classes, see ``class_keys``; their labels stand in for no ids."""
    shared = {name for name, times in Counter(names).items() if times > 1}
    ids = range(len(names)) if category_ids is None else category_ids
    return [
        f"{name} (id {category_id})" if name in shared else name
        for name, category_id in zip(names, ids, strict=True)
    ]
