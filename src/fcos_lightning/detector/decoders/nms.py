"""Prediction + Points -> Detections: threshold, top-k, NMS, clip."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torchvision.ops import batched_nms

from fcos_lightning.boxes import clip_boxes, ltrb_to_xyxy
from fcos_lightning.detector.parts import Decoder
from fcos_lightning.structures import Detections, Points, Prediction
from fcos_lightning.structures.on_device import placed

#: Candidates that NMS looks at first; up to as many torchvision sorts all classes out in one go.
_HEAD = 1000


@dataclass(frozen=True)
class NMSDecoder(Decoder):
    """The best boxes of each class that do not overlap a better one.

    Args:
        score_threshold: a point's class needs a higher probability, quality not counted; or its
            score does, see ``threshold_on``.
        topk_per_level: at most so many candidates of each level go on to NMS.
        nms_iou: of two boxes of a class that overlap more than this the weaker one goes.
        max_detections: at most so many boxes an image.
        score: ``sqrt(cls * quality)`` (official), ``cls * quality`` (mmdetection), or ``class``:
            that probability alone, as it is wherever the head predicts no quality.
        rank_by: what the top-k looks at: the score, or the class probability alone (mmdetection).
        clip_to: the image's edge, or its last pixel (official).
        threshold_on: the class probability (official), or the score (torchvision, detectron2).
        clip: boxes before NMS (official, torchvision, mmdetection), only those that are left
            (detectron2), or none (AdelaiDet, whose head leaves that to whoever uses it).
        drop_empty: leave out boxes that have no area once clipped (detectron2, mmdetection).
        keep_ties: beyond ``max_detections``, keep the boxes that score as the last one does
            (official, AdelaiDet). Only a saturated detector has such.
        nms_sides: how long NMS takes a box's sides for: ``x2 - x1`` (``plain``), or one pixel more
            (``inclusive``, official), by which small boxes overlap each other more.

    Raises:
        UserError: if a threshold is not from 0 to 1, or a number of boxes below 1.
    """

    name: ClassVar[str] = "nms"

    score_threshold: float = 0.05
    topk_per_level: int = 1000
    nms_iou: float = 0.6
    max_detections: int = 100
    score: Literal["sqrt", "product", "class"] = "sqrt"
    rank_by: Literal["score", "class"] = "score"
    clip_to: Literal["edge", "last_pixel"] = "edge"
    threshold_on: Literal["class", "score"] = "class"
    clip: Literal["before_nms", "after_nms", "never"] = "before_nms"
    drop_empty: bool = False
    keep_ties: bool = False
    nms_sides: Literal["plain", "inclusive"] = "plain"

    def __post_init__(self) -> None:
        super().__post_init__()
        for option in ("score_threshold", "nms_iou"):
            self.require(option, 0 <= getattr(self, option) <= 1, "a number in [0, 1]")
        for option in ("topk_per_level", "max_detections"):
            self.require(option, getattr(self, option) >= 1, "a number of at least 1")

    @torch.no_grad()
    def __call__(
        self, prediction: Prediction, points: Points, sizes_hw: Tensor
    ) -> list[Detections]:
        """Return the final boxes of each image, in pixels of the padded input."""
        found = self.candidates(prediction, points, sizes_hw)
        return [self.best(one, size_hw) for one, size_hw in zip(found, sizes_hw, strict=True)]

    @torch.no_grad()
    def candidates(
        self, prediction: Prediction, points: Points, sizes_hw: Tensor
    ) -> list[Detections]:
        """Return what passes each image's threshold and top-k, not in order."""
        found = []
        for image, size_hw in enumerate(sizes_hw):
            _, candidates = self.passing(prediction, points, image)
            if self.clip == "before_nms":
                candidates = self.clipped(candidates, size_hw)
            found.append(candidates)
        return found

    @torch.no_grad()
    def best(self, candidates: Detections, size_hw: Tensor) -> Detections:
        """Return what NMS leaves of an image's candidates, best first."""
        found = _rows(candidates, self.kept(candidates))
        return self.clipped(found, size_hw) if self.clip == "after_nms" else found

    def kept(self, candidates: Detections) -> Tensor:
        """Return the rows of an image's candidates that NMS leaves, best first."""
        compared = replace(candidates, boxes_xyxy=self.compared(candidates.boxes_xyxy))
        return _kept(compared, self.nms_iou, self.max_detections, self.keep_ties)

    def compared(self, boxes_xyxy: Tensor) -> Tensor:
        """Return boxes as NMS takes them, see ``nms_sides``."""
        if self.nms_sides == "plain":
            return boxes_xyxy
        return boxes_xyxy + placed((0.0, 0.0, 1.0, 1.0), boxes_xyxy.device, boxes_xyxy.dtype)

    def passing(
        self, prediction: Prediction, points: Points, image: int
    ) -> tuple[Tensor, Detections]:
        """Return what passes an image's threshold and top-k, not clipped, and of which points.

        Returns:
            ``[N]`` the points, and their boxes; a point may have several, of other classes.
        """
        score = "class" if prediction.quality_logits is None else self.score
        threshold = self._class_threshold(score)
        point, label, cls = _passing(prediction.cls_logits[image], threshold)
        candidate_score = cls
        if score != "class" and prediction.quality_logits is not None:
            candidate_score = cls * prediction.quality_logits[image][point].float().sigmoid()
        if self.threshold_on == "score":
            final = candidate_score.sqrt() if score == "sqrt" else candidate_score
            passed = final > self.score_threshold
            point, label, cls = point[passed], label[passed], cls[passed]
            candidate_score = candidate_score[passed]
        ranking = candidate_score if self.rank_by == "score" else cls
        best = _best_of_levels(ranking, point, points.per_level, self.topk_per_level)
        if best is not None:
            point, label, candidate_score = point[best], label[best], candidate_score[best]
        return point, Detections(
            ltrb_to_xyxy(points.xy[point], prediction.ltrb_px[image][point].float()),
            candidate_score.sqrt() if score == "sqrt" else candidate_score,
            label,
        )

    def _class_threshold(self, score: str) -> float:
        """Return the logit that a class must pass.

        Comparing logits spares the sigmoid of all points and classes but the few that pass.
        Quality is at most 1, so a score above the threshold takes a class above this; less for
        rounding.
        """
        threshold = self.score_threshold
        if self.threshold_on == "score":
            threshold = 0.999 * (threshold**2 if score == "sqrt" else threshold)
        if 0 < threshold < 1:
            return math.log(threshold / (1 - threshold))
        return math.inf if threshold else -math.inf

    def clipped(self, found: Detections, size_hw: Tensor) -> Detections:
        """Return boxes clipped to an image, without the empty ones where they are not wanted."""
        boxes = clip_boxes(found.boxes_xyxy, size_hw, last_pixel=self.clip_to == "last_pixel")
        clipped = Detections(boxes, found.scores, found.labels)
        if not self.drop_empty:
            return clipped
        return _rows(clipped, (boxes[:, 2:] > boxes[:, :2]).all(dim=1))


def decode(
    prediction: Prediction,
    points: Points,
    sizes_hw: Tensor,
    **options: Any,  # noqa: ANN401  # the fields of NMSDecoder
) -> list[Detections]:
    """Return what ``NMSDecoder(**options)`` finds in these."""
    return NMSDecoder(**options)(prediction, points, sizes_hw)


def _passing(cls_logits: Tensor, threshold: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return point, class and probability of the logits ``[P, C]`` above a threshold.

    Most points have none: looking at each point's largest logit first spares comparing and
    searching all the others.
    """
    points = (cls_logits.amax(dim=1) > threshold).nonzero().squeeze(1)
    logits = cls_logits[points]
    row, label = (logits > threshold).nonzero(as_tuple=True)
    return points[row], label, logits[row, label].float().sigmoid()


def _best_of_levels(
    ranking: Tensor, point: Tensor, per_level: Sequence[int], topk: int
) -> Tensor | None:
    """Return the rows of the ``topk`` best candidates of each level; None: all of them.

    Args:
        ranking: ``[N]``, the larger, the better.
        point: ``[N]`` of each candidate, ascending.
        per_level: number of points of each level.
        topk: at most so many of a level.
    """
    if len(point) <= topk:
        return None
    ends = placed(per_level, point.device).cumsum(0)
    counts = torch.searchsorted(point, ends).diff(prepend=ends.new_zeros(1)).tolist()
    rows, start = [], 0
    for count in counts:
        rows.append(start + ranking[start : start + count].topk(min(topk, count)).indices)
        start += count
    return torch.cat(rows)


def _kept(found: Detections, iou: float, max_detections: int, keep_ties: bool) -> Tensor:
    """Return the rows that NMS leaves, best first, not more than ``max_detections``.

    What a box suppresses scores less than itself. So the best of the best candidates are the best
    of all: the others are looked at only where these do not leave enough.
    """
    order = found.scores.argsort(descending=True, stable=True)
    head = order[: max(_HEAD, 2 * max_detections)]
    for rows in (head, order):
        few = _rows(found, rows)
        keep = batched_nms(few.boxes_xyxy, few.scores, few.labels, iou)
        best = keep[:max_detections]
        if keep_ties and len(best):
            best = keep[few.scores[keep] >= few.scores[best[-1]]]
        # A box that ties with the last one may still come.
        enough = len(best) >= max_detections and len(best) < len(keep)
        if enough or len(rows) == len(order):
            break
    return rows[best]


def _rows(found: Detections, rows: Tensor) -> Detections:
    return Detections(found.boxes_xyxy[rows], found.scores[rows], found.labels[rows])
