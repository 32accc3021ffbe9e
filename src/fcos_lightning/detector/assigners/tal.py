"""Points + Targets + Prediction -> Assignment: task-aligned, as TOOD and YOLO since v8 have it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from fcos_lightning.detector.assigners.claims import Claims, padded
from fcos_lightning.detector.assigners.pairs import corners_of, of_all_pairs, overlaps, pairs_inside
from fcos_lightning.detector.parts import Assigner
from fcos_lightning.structures import Assignment, Points, Prediction, Target, Targets
from fcos_lightning.structures.on_device import known_at_once

#: Above 0, so that nothing is divided by that.
_TINY = torch.finfo(torch.float32).tiny


@dataclass(frozen=True)
class TALAssigner(Assigner):
    """Task-aligned learning (arXiv 2108.07755, section 3.2).

    ``t = s^class_power * u^iou_power``, where s is the probability that a point gives to the box's
    class and u how much the box it predicts overlaps. The points inside a box that have its largest
    t are positive, if it is above 0; a point of several boxes goes to the one it overlaps most. The
    weight of a positive is its t over the largest of its box, times the largest u of its box.

    The prediction decides, so each of several accumulated batches is divided by its own sum. The
    paper's first epochs with another mapping are left out, as YOLO leaves them out.

    Args:
        topk: points of a box.
        class_power: the paper's alpha.
        iou_power: the paper's beta.

    Raises:
        UserError: if there is no point for a box, or a power is below 0.
    """

    name: ClassVar[str] = "tal"
    needs_prediction: ClassVar[bool] = True

    topk: int = 13
    class_power: float = 1.0
    iou_power: float = 6.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_at_least(topk=1, class_power=0, iou_power=0)

    @torch.no_grad()
    def __call__(
        self,
        points: Points,
        targets: Targets | Sequence[Target],
        prediction: Prediction | None = None,
    ) -> Assignment:
        """Return the assignment, with the weight of each positive.

        Raises:
            ValueError: if there is no prediction.
        """
        if prediction is None:
            raise ValueError("the assigner tal looks at the prediction; give it")
        targets = padded(targets)
        boxes, labels = targets.boxes_xyxy, targets.labels.clamp(min=0)
        best = self._best_inside if known_at_once(boxes) else self._best_of_all
        root, iou, point = best(points, boxes, labels, targets.valid, prediction)
        count = len(points.xy)
        claims = Claims(point, (root > 0) & targets.valid[..., None], iou)
        granted = claims.granted(count)
        assignment = claims.assignment(points, targets, granted)

        root = torch.where(granted, root, 0.0)
        share = (root / root.amax(dim=-1, keepdim=True).clamp(min=_TINY)).square()
        most = torch.where(granted, iou, 0.0).amax(dim=-1, keepdim=True)
        return replace(assignment, weight=claims.at_points(share * most, granted, count))

    def _best_of_all(
        self, points: Points, boxes: Tensor, labels: Tensor, valid: Tensor, prediction: Prediction
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the best points of each box: the root of t, overlap, and which they are.

        Args:
            points: of all levels.
            boxes: ``[B, G, 4]`` pixels.
            labels: ``[B, G]``, any where nothing is valid.
            valid: ``[B, G]`` bool.
            prediction: at all points.

        Returns:
            Three of ``[B, G, K]``; the root is 0 where there are fewer points.
        """
        corners = corners_of(prediction, points)
        count, places = len(points.xy), min(self.topk, len(points.xy))

        def ask(images: slice, some: slice) -> tuple[Tensor, ...]:
            iou = overlaps(corners[:, images], boxes[images, some])
            column = labels[images, None, some].expand(-1, count, -1)
            logit = prediction.cls_logits[images].gather(2, column).transpose(1, 2)
            root = self._root(logit, iou) * _inside(points.xy, boxes[images, some])
            best, point = root.topk(places, dim=-1)
            return best, iou.gather(-1, point), point

        root, iou, point = of_all_pairs(ask, labels, points.xy)
        return root, iou, point

    def _best_inside(
        self, points: Points, boxes: Tensor, labels: Tensor, valid: Tensor, prediction: Prediction
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the same, looking at points inside of boxes alone."""
        classes, count = prediction.cls_logits.shape[-1], len(points.xy)
        corners = corners_of(prediction, points).flatten(1)
        logits = prediction.cls_logits.flatten()
        shape = (*labels.shape, min(self.topk, count))
        root, iou = boxes.new_zeros(shape), boxes.new_zeros(shape)
        point = labels.new_zeros(shape)
        for box, inside, real in pairs_inside(points, boxes.flatten(0, 1), valid.flatten()):
            at = inside + box[:, None].div(labels.shape[1], rounding_mode="floor") * count
            its_iou = overlaps(corners[:, at][:, :, None], boxes.flatten(0, 1)[box, None])[:, 0]
            logit = logits[at * classes + labels.flatten()[box, None]]
            its_root, place = (self._root(logit, its_iou) * real).topk(
                min(shape[-1], at.shape[1]), dim=-1
            )
            found = (its_root, its_iou.gather(-1, place), inside.gather(-1, place))
            for whole, part in zip((root, iou, point), found, strict=True):
                whole.view(-1, shape[-1])[box, : part.shape[1]] = part
        return root, iou, point

    def _root(self, logit: Tensor, iou: Tensor) -> Tensor:
        """Return the root of t: the same order, and overlaps below a millionth are told apart."""
        root = _power(logit.float().sigmoid(), self.class_power / 2)
        return root * _power(iou, self.iou_power / 2)


def _power(base: Tensor, exponent: float) -> Tensor:
    """Return numbers from 0 to 1 to a power; to small ones by products, which take less time."""
    if exponent == 0.5:
        return base.sqrt()
    if exponent in (1, 2, 3):
        product = base
        for _ in range(int(exponent) - 1):
            product = product * base
        return product
    return base**exponent


def _inside(xy: Tensor, boxes: Tensor) -> Tensor:
    """Whether points ``[P, 2]`` lie inside boxes ``[..., 4]``, ``[..., P]`` bool."""
    x, y = xy.unbind(-1)
    x1, y1, x2, y2 = (side[..., None] for side in boxes.unbind(-1))
    return (x > x1) & (x < x2) & (y > y1) & (y < y2)
