"""Points + Targets + Prediction -> Assignment: RTMDet's dynamic soft label assignment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from fcos_lightning.boxes import iou_of_ltrb, xyxy_to_ltrb
from fcos_lightning.detector.assigners.claims import Claims, padded
from fcos_lightning.detector.assigners.pairs import corners_of, of_all_pairs, overlaps
from fcos_lightning.detector.parts import Assigner
from fcos_lightning.detector.rows import rows_that_count, spread
from fcos_lightning.layers.softplus import quick_softplus
from fcos_lightning.structures import Assignment, Points, Prediction, Target, Targets
from fcos_lightning.structures.on_device import known_at_once

#: Points looked at together for what background costs them.
_PIECE = 2**11
#: The logarithm to base 10 of the largest cost of a distance, which float32 holds.
_FARTHEST = 30.0


@dataclass(frozen=True)
class DSLAAssigner(Assigner):
    """Dynamic soft label assignment (RTMDet, arXiv 2212.07784, section 3.3).

    Candidates are the points inside any box. Of box and candidate, with u the overlap of box and
    predicted box, the cost is the quality focal loss that the point's class logits would have if
    the box's class were to be u and the others 0, less ``iou_weight * ln(u + 1e-7)``, plus
    ``10^(d / stride - soft_radius)``, d the distance of the point from the box's center. A box
    takes so many of the points that cost it least as its ``topk`` largest overlaps add up to,
    rounded down, and one at least. A point of several boxes goes to the one that it costs least.
    The weight of a positive is its overlap.

    A box that holds no point takes the one nearest to its center, before all boxes that do hold
    one. Of each level, only the ``2 * reach + 1`` columns and rows nearest to a box's center are
    looked at for it: beyond, the distance alone costs more than all else together.

    The prediction decides, so each of several accumulated batches is divided by its own sum.

    Args:
        topk: overlaps that say how many points a box takes.
        iou_weight: of the overlap's part of the cost.
        soft_radius: in strides; at this distance from the center a point costs 1 for it.
        reach: in points.

    Raises:
        UserError: if there is no point for a box, or the weight is below 0.
    """

    name: ClassVar[str] = "dsla"
    needs_prediction: ClassVar[bool] = True

    topk: int = 13
    iou_weight: float = 3.0
    soft_radius: float = 3.0
    reach: int = 7

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_at_least(topk=1, iou_weight=0, reach=0, soft_radius=0)

    @torch.no_grad()
    def __call__(
        self,
        points: Points,
        targets: Targets | Sequence[Target],
        prediction: Prediction | None = None,
    ) -> Assignment:
        """Return the assignment, with the weight of each positive.

        Raises:
            ValueError: if there is no prediction, or a cell has several points.
        """
        targets = padded(targets)
        claims, iou = self._claims(points, targets, prediction)
        granted = claims.granted(len(points.xy))
        weight = claims.at_points(iou, granted, len(points.xy))
        return replace(claims.assignment(points, targets, granted), weight=weight)

    def claims(
        self, points: Points, targets: Targets, prediction: Prediction | None = None
    ) -> Claims:
        """Return which points the boxes claim, ranked by cost.

        Raises:
            ValueError: as above.
        """
        return self._claims(points, targets, prediction)[0]

    def _claims(
        self, points: Points, targets: Targets, prediction: Prediction | None
    ) -> tuple[Claims, Tensor]:
        """Return the claims, and the overlap ``[B, G, K]`` of each."""
        if prediction is None:
            raise ValueError("the assigner dsla looks at the prediction; give it")
        if points.per_cell != 1:
            raise ValueError("the assigner dsla takes points, one of a cell, and no anchors")
        boxes = targets.boxes_xyxy
        valid = targets.valid & (boxes[..., 2:] > boxes[..., :2]).all(dim=-1)
        inside_any, holds = _insides(points, boxes, valid)
        takes = self._takes(points, targets, prediction, inside_any)

        point = _around(points, boxes, self.reach)
        squared = (points.xy[point] - ((boxes[..., :2] + boxes[..., 2:]) / 2)[:, :, None]).square()
        distance = squared.sum(dim=-1).sqrt()
        candidate = inside_any[:, None].expand(-1, boxes.shape[1], -1).gather(-1, point)
        # Its nearest point is the only candidate of a box that holds none.
        alone = (valid & ~holds)[..., None]
        place = torch.arange(point.shape[-1], device=point.device)
        nearest = place == distance.argmin(dim=-1, keepdim=True)
        candidate = torch.where(alone, nearest, candidate) & valid[..., None]
        cost, iou = self._cost(points, targets, prediction, point, distance, candidate)

        places = min(self.topk, point.shape[-1])
        least, order = torch.where(candidate, cost, torch.inf).topk(places, largest=False)
        made = (place[:places] < takes[..., None]) & least.isfinite()
        # Costs are above 0, so that a box with a single candidate comes before all others.
        rank = torch.where(alone, 1 / (1 + least), -least)
        return Claims(point.gather(-1, order), made, rank), iou.gather(-1, order)

    def _takes(
        self, points: Points, targets: Targets, prediction: Prediction, inside_any: Tensor
    ) -> Tensor:
        """Return how many points each box takes, ``[B, G]`` int64."""
        corners = corners_of(prediction, points)
        boxes, places = targets.boxes_xyxy, min(self.topk, len(points.xy))
        if known_at_once(boxes):
            each = [
                self._sum_of_largest(corners[:, image, None], boxes[image, None], inside)
                for image, inside in enumerate(inside_any)
            ]
            return torch.cat(each).long().clamp(min=1)
        candidate = inside_any[:, None].float()

        def ask(images: slice, some: slice) -> tuple[Tensor]:
            iou = overlaps(corners[:, images], boxes[images, some])
            return (iou.mul_(candidate[images]).topk(places, dim=-1).values.sum(dim=-1),)

        (total,) = of_all_pairs(ask, targets.labels, points.xy)
        return total.long().clamp(min=1)

    def _sum_of_largest(self, corners: Tensor, boxes: Tensor, candidate: Tensor) -> Tensor:
        """Return what ``topk`` overlaps of boxes ``[1, G, 4]`` add up to, ``[1, G]``.

        Only candidates, ``[P]`` bool, are looked at, of predicted boxes ``[4, 1, 1, P]``.
        """
        corners = corners[..., candidate.nonzero().squeeze(1)]
        places = min(self.topk, corners.shape[-1])

        def ask(images: slice, some: slice) -> tuple[Tensor]:
            iou = overlaps(corners, boxes[:, some])
            return (iou.topk(places, dim=-1).values.sum(dim=-1),)

        (total,) = of_all_pairs(ask, boxes[..., 0], corners[0, 0, 0])
        return total

    def _cost(
        self,
        points: Points,
        targets: Targets,
        prediction: Prediction,
        point: Tensor,
        distance: Tensor,
        candidate: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Return cost and overlap of boxes and some points for each, ``[B, G, K]``.

        Args:
            points: of all levels.
            targets: ``G`` boxes an image.
            prediction: at all points.
            point: ``[B, G, K]``.
            distance: of point and center of the box in pixels, likewise.
            candidate: ``[B, G, K]`` bool, what the cost is asked of; of others it may be anything.
        """
        batch, boxes, places = point.shape
        rows = point.flatten(1)
        ltrb_px = prediction.ltrb_px.gather(1, rows[..., None].expand(-1, -1, 4)).float()
        target = xyxy_to_ltrb(points.xy[point], targets.boxes_xyxy[:, :, None])
        iou = iou_of_ltrb(ltrb_px.view(batch, boxes, places, 4), target)

        # All classes but the box's own are background, whatever box it is: their sum is the
        # point's, less one term. Nothing has a cell for each point, box and class.
        classes = prediction.cls_logits.shape[-1]
        column = targets.labels.clamp(min=0)[..., None].expand_as(point).flatten(1)
        logit = prediction.cls_logits.flatten(1).gather(1, rows * classes + column)
        logit = logit.float().view_as(point)
        asked = rows.new_zeros(batch, len(points.xy), dtype=torch.uint8)  # CUDA scatters no bool
        asked = asked.scatter_reduce(1, rows, candidate.flatten(1).to(torch.uint8), "amax")
        background = _background(prediction.cls_logits, asked.bool()).gather(1, rows).view_as(point)
        probability, softplus = logit.sigmoid(), quick_softplus(logit)
        others = background - probability.square() * softplus
        right = (iou - probability).square() * (softplus - iou * logit)
        away = (distance / points.stride[point] - self.soft_radius).clamp(max=_FARTHEST)
        return others + right - self.iou_weight * (iou + 1e-7).log() + 10**away, iou


def _background(cls_logits: Tensor, asked: Tensor) -> Tensor:
    """Return the quality focal loss of points ``[B, P, C]`` of which no class is there, ``[B, P]``.

    Of those that are asked for, ``[B, P]`` bool; of others it is that or 0. Some at a time, as the
    logits are the largest tensor of a step.
    """
    rows = rows_that_count(asked.flatten())
    logits = cls_logits.flatten(0, 1)
    if isinstance(rows, slice):
        pieces = (logits,) if torch.compiler.is_compiling() else torch.split(logits, _PIECE)
        return torch.cat([_of_no_class(piece) for piece in pieces]).view(asked.shape)
    sums = [_of_no_class(logits[piece]) for piece in torch.split(rows, _PIECE)]
    return spread(torch.cat(sums), rows, asked.shape)


def _of_no_class(logits: Tensor) -> Tensor:
    logits = logits.float()
    return quick_softplus(logits).mul_(logits.sigmoid().square_()).sum(dim=-1)


def _insides(points: Points, boxes: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
    """Return which points lie inside any box, ``[B, P]``, and which boxes hold any, ``[B, G]``.

    A point lies inside if its column and its row do: no pair is looked at.
    """
    inside, holds = [], []
    for grid_xy in _grids(points):
        across, along = (
            (at > boxes[..., axis, None]) & (at < boxes[..., axis + 2, None]) & valid[..., None]
            for axis, at in enumerate((grid_xy[0, :, 0], grid_xy[:, 0, 1]))
        )
        # How many boxes hold a point, as a product of matrices.
        with torch.autocast(boxes.device.type, enabled=False):
            count = along.float().transpose(1, 2) @ across.float()
        inside.append((count > 0).flatten(1))
        holds.append(across.any(dim=-1) & along.any(dim=-1))
    return torch.cat(inside, dim=1), torch.stack(holds).any(dim=0)


def _around(points: Points, boxes: Tensor, reach: int) -> Tensor:
    """Return the points around the centers of boxes ``[B, G, 4]``, of each level, ``[B, G, K]``.

    The finest level first, and of a level the nearest.
    """
    center = (boxes[..., :2] + boxes[..., 2:]) / 2
    index, first = [], 0
    for grid_xy in _grids(points):
        height, width, _ = grid_xy.shape
        columns, rows = (
            (at - center[..., axis, None]).abs().argsort(dim=-1, stable=True)[..., : 2 * reach + 1]
            for axis, at in enumerate((grid_xy[0, :, 0], grid_xy[:, 0, 1]))
        )
        index.append((first + rows[..., :, None] * width + columns[..., None, :]).flatten(-2))
        first += height * width
    return torch.cat(index, dim=-1)


def _grids(points: Points) -> list[Tensor]:
    """Return the points of each level as ``[height, width, 2]``."""
    each = torch.split(points.xy, points.per_level)
    return [xy.view(*size, 2) for xy, size in zip(each, points.feature_sizes, strict=True)]
