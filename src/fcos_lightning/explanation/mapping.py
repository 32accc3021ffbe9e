"""The label mapping of an image in full: every claim of every box, not only who gets a point.

Legend: ``P`` points of all levels, ``G`` boxes of the image, ``N`` points that answer for a box,
``M`` claims.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from fcos_lightning.detector.assigners.claims import Claims, padded
from fcos_lightning.detector.grid import Grid
from fcos_lightning.detector.ignoring import pass_over
from fcos_lightning.detector.parts import Assigner
from fcos_lightning.structures import Images, Points, Prediction, Target, Targets

#: Boxes times points that are looked at together.
_PAIRS = 2**21


@runtime_checkable
class Claiming(Protocol):
    """An assigner that tells its claims: they depend on each other, or it is quicker so."""

    def claims(
        self, points: Points, targets: Targets, prediction: Prediction | None = None
    ) -> Claims:
        """Return which points the boxes of ``B`` images claim."""


@dataclass(frozen=True, eq=False)
class Mapped:
    """Which boxes of an image claim which points, and who gets them.

    Attributes:
        points: of all levels.
        positive: ``[N]`` int64, the points that answer for a box, ascending.
        box: ``[N]`` int64, which.
        ltrb_px: ``[N, 4]`` from the point to the sides of its box.
        weight: ``[N]`` how much of a positive each is; None: each is a whole one.
        claim_point: ``[M]`` int64, the point of each claim, ascending.
        claim_box: ``[M]`` int64, the box that makes it, ascending for each point.
        ignored: how many points are neither positive nor background.
        complete: whether the claims are as many as the assigner counts. Of somebody's own
            assigner, whose boxes are asked one by one, they may not be.
    """

    points: Points
    positive: Tensor
    box: Tensor
    ltrb_px: Tensor
    weight: Tensor | None
    claim_point: Tensor
    claim_box: Tensor
    ignored: int
    complete: bool

    def claimants(self) -> Tensor:
        """Return how many boxes claim each point, ``[P]`` int64."""
        return torch.bincount(self.claim_point, minlength=len(self.points.xy))

    def levels(self) -> Tensor:
        """Return the level of each point, ``[P]`` int64."""
        counts = torch.tensor(self.points.per_level)
        return torch.arange(len(counts)).repeat_interleave(counts)


@dataclass(frozen=True)
class LabelMapping:
    """Where the points are, and how they get their boxes.

    Attributes:
        grid: of the points.
        assigner: that chooses.
        size_multiple: height and width of an image are padded to a multiple of this.
        pad_beyond: see ``Images.pad``.
    """

    grid: Grid
    assigner: Assigner
    size_multiple: int
    pad_beyond: bool = False

    def points(self, size_hw: tuple[int, int]) -> Points:
        """Return the points of an image of this size, alone in its batch."""
        return self._kept_points(size_hw)

    @cached_property
    def _kept_points(self) -> Callable[[tuple[int, int]], Points]:
        """Make points, and keep those of the last sizes: data sets have many images of few."""
        return lru_cache(maxsize=32)(self._new_points)

    def _new_points(self, size_hw: tuple[int, int]) -> Points:
        empty = torch.empty(3, *size_hw, dtype=torch.uint8, device="meta")
        return self.grid(Images.pad([empty], self.size_multiple, self.pad_beyond).padded_size)

    @torch.no_grad()
    def __call__(
        self, target: Target, size_hw: tuple[int, int], prediction: Prediction | None = None
    ) -> Mapped:
        """Return the mapping of an image.

        Args:
            target: its boxes, ``G`` of them, and those to ignore.
            size_hw: of the image as the detector sees it.
            prediction: of this image alone; None where the assigner needs none.

        Raises:
            ValueError: if it needs one.
        """
        points = self.points(size_hw)
        assignment = pass_over(self.assigner(points, [target], prediction), points, [target])
        (positive,) = assignment.positive[0].nonzero(as_tuple=True)
        point, box = self._claims(points, target, prediction)
        order = (point * max(len(target.labels), 1) + box).argsort()
        point, box = point[order], box[order]
        counted = torch.bincount(point, minlength=len(points.xy))
        return Mapped(
            points=points,
            positive=positive,
            box=assignment.matched[0, positive],
            ltrb_px=assignment.ltrb_px[0, positive],
            weight=None if assignment.weight is None else assignment.weight[0, positive],
            claim_point=point,
            claim_box=box,
            ignored=0 if assignment.ignored is None else int(assignment.ignored.sum()),
            complete=bool((counted == assignment.claims[0]).all()),
        )

    def _claims(
        self, points: Points, target: Target, prediction: Prediction | None
    ) -> tuple[Tensor, Tensor]:
        """Return point and box of each claim, in any order."""
        if isinstance(self.assigner, Claiming):
            claims = self.assigner.claims(points, padded([target]), prediction)
            box, place = claims.made[0].nonzero(as_tuple=True)
            return claims.point[0, box, place], box
        # A box that is alone in its image gets all that it claims.
        together = max(_PAIRS // max(len(points.xy), 1), 1)
        boxes, labels = target.boxes_xyxy.float(), target.labels
        found_points, found_boxes = [labels.new_zeros(0)], [labels.new_zeros(0)]
        for first in range(0, len(labels), together):
            some = slice(first, first + together)
            alone = Targets(boxes[some, None], labels[some, None])
            count = len(alone.labels)
            said = None
            if prediction is not None:
                said = prediction.changed(partial(_repeated, count))
            box, point = self.assigner(points, alone, said).positive.nonzero(as_tuple=True)
            found_points.append(point)
            found_boxes.append(box + first)
        return torch.cat(found_points), torch.cat(found_boxes)


def _repeated(count: int, one: Tensor) -> Tensor:
    """Return what is said of one image for several, without copying it."""
    return one.expand(count, *one.shape[1:])
