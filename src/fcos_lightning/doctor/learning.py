"""Which boxes a method can learn, by its own grid and assigner; no network is needed.

Legend: ``G`` boxes of an image, ``P`` points of all levels.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from fcos_lightning.boxes import xyxy_to_ltrb
from fcos_lightning.data.resizing import fitting_scale
from fcos_lightning.data.splits import DataSplit
from fcos_lightning.detector import Grid
from fcos_lightning.detector.parts import Assigner
from fcos_lightning.structures import Points, Prediction, Target

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Boxes of an image looked at together by assigners that compare each with every point.
_MOST_BOXES = 300


@dataclass(frozen=True, eq=False)
class Learning:
    """How a detector would be trained.

    Attributes:
        grid: where its points are.
        assigner: which box a point answers for.
        shorter_side: of images after resizing, in pixels.
        longer_side: what the longer side may at most become.
        multiple: sides of batches are rounded up to a multiple of this.
        finer: its grid with a level of half the finest stride; None: it has none.
    """

    grid: Grid
    assigner: Assigner
    shorter_side: int
    longer_side: int
    multiple: int
    finer: Grid | None = None

    def at(self, shorter_side: int) -> Learning:
        """Return the same at another size, of the same proportion of the longer side."""
        longer = round(self.longer_side * shorter_side / self.shorter_side)
        return replace(self, shorter_side=shorter_side, longer_side=max(longer, shorter_side))

    @property
    def finest(self) -> int:
        """Stride of the finest level in pixels."""
        return min(self.grid.strides)


@dataclass(frozen=True, eq=False)
class Learnt:
    """What a look at the boxes of some images gave.

    Attributes:
        rows: ``[M]`` which boxes of the split.
        points: ``[M]`` how many points answer for each.
        alone: ``[M]`` bool, of those without a point: they would have one, were they alone.
        sides: ``[M, 2]`` width and height in pixels of the resized image.
        levels: points that answer for a box, by the level's stride.
    """

    rows: NDArray[np.int64]
    points: NDArray[np.int64]
    alone: NDArray[np.bool_]
    sides: NDArray[np.float64]
    levels: Counter[int]

    @cached_property
    def share(self) -> float:
        """Of the boxes, those that a point answers for; 1 where there is none."""
        return float((self.points > 0).mean()) if len(self.points) else 1.0


def learnt(
    split: DataSplit, how: Learning, images: Sequence[int], ask_alone: bool = True
) -> Learnt:
    """Assign the boxes of some images as training does, and count.

    Args:
        split: of the images.
        how: it is trained.
        images: positions in the split.
        ask_alone: whether boxes without a point are assigned again, each alone.
    """
    truth = split.truth
    kept: dict[tuple[int, int], Points] = {}
    rows, counts, alone, sides = [], [], [], []
    levels: Counter[int] = Counter()
    for image in images:
        height, width = truth.sizes_hw[image].tolist()
        of_image = truth.rows(image)
        own = np.flatnonzero(~truth.ignored[of_image]) + of_image.start
        if not len(own) or min(height, width) < 1:
            continue
        scale = fitting_scale(height, width, how.shorter_side, how.longer_side)
        size = (max(1, round(height * scale)), max(1, round(width * scale)))
        padded = tuple(math.ceil(side / how.multiple) * how.multiple for side in size)
        points = kept.get(padded)
        if points is None:
            if len(kept) > 64:
                kept.clear()
            points = kept[padded] = how.grid(padded)
        boxes = torch.from_numpy(truth.boxes_xyxy[own] * scale).float()
        far = torch.tensor([size[1], size[0]] * 2, dtype=torch.float32)
        boxes = torch.minimum(boxes.clamp(min=0), far)
        labels = torch.from_numpy(truth.labels[own])
        found, at = _answering(how.assigner, points, boxes, labels)
        for stride, number in zip(*np.unique(at, return_counts=True), strict=True):
            levels[int(stride)] += int(number)
        lone = np.zeros(len(own), dtype=bool)
        if ask_alone and len(own) > 1:
            for row in np.flatnonzero(found == 0).tolist():
                some = slice(row, row + 1)
                lone[row] = _answering(how.assigner, points, boxes[some], labels[some])[0][0] > 0
        rows.append(own)
        counts.append(found)
        alone.append(lone)
        sides.append((boxes[:, 2:] - boxes[:, :2]).double().numpy())
    if not rows:
        none = np.zeros(0, np.int64)
        return Learnt(none, none, none.astype(bool), np.zeros((0, 2)), levels)
    return Learnt(
        np.concatenate(rows),
        np.concatenate(counts),
        np.concatenate(alone),
        np.concatenate(sides),
        levels,
    )


def _answering(
    assigner: Assigner, points: Points, boxes: Tensor, labels: Tensor
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return how many points answer for each box ``[G]``, and the strides of all of them."""
    prediction = None
    if assigner.needs_prediction:
        prediction = ideal_prediction(points, boxes, labels)
    assignment = assigner(points, [Target(boxes, labels)], prediction)
    matched = assignment.matched[0]
    taken = matched[matched >= 0]
    counts = torch.bincount(taken, minlength=len(boxes))
    return counts.numpy(), points.stride[matched >= 0].double().numpy()


def ideal_prediction(points: Points, boxes: Tensor, labels: Tensor) -> Prediction:
    """Return what a head would say that has learnt all boxes, for assigners that ask it.

    A point within boxes predicts the smallest of them, and any other point a box of its own cell.

    Args:
        points: ``P``.
        boxes: ``[G, 4]`` xyxy.
        labels: ``[G]``.
    """
    area = (boxes[:, 2:] - boxes[:, :2]).prod(dim=1)
    ltrb = (points.stride[:, None] / 2).expand(-1, 4).clone()
    classes = int(labels.max()) + 1 if len(labels) else 1
    logits = torch.full((len(points.xy), classes), -4.0)
    # The largest first, so that the smallest has the last word.
    for row in area.argsort(descending=True).tolist():
        own = xyxy_to_ltrb(points.xy, boxes[row])
        inside = own.min(dim=1).values > 0
        ltrb[inside] = own[inside]
        logits[inside] = -4.0
        logits[inside, labels[row]] = 0.0
    return Prediction(logits[None], ltrb[None], torch.zeros(1, len(points.xy)))


def sample(split: DataSplit, most: int) -> list[int]:
    """Return images spread evenly over a split, at most so many."""
    if len(split) <= most:
        return list(range(len(split)))
    spread: list[int] = np.linspace(0, len(split) - 1, most, dtype=np.int64).tolist()
    return spread


def shares_of_levels(levels: Counter[int], strides: Sequence[int]) -> Iterator[tuple[int, float]]:
    """Yield for each level its stride and which share of the points that answer is on it."""
    total = sum(levels.values())
    for stride in strides:
        yield stride, levels[stride] / total if total else 0.0
