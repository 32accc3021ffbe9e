"""Prediction + Points -> Detections: threshold, top-k, NMS, clip."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor
from torchvision.ops import batched_nms

from fcos_lightning.boxes import clip_boxes, ltrb_to_xyxy
from fcos_lightning.errors import UserError
from fcos_lightning.structures import Detections, Points, Prediction


@torch.no_grad()
def decode(
    prediction: Prediction,
    points: Points,
    sizes_hw: Tensor,
    *,
    score_threshold: float = 0.05,
    topk_per_level: int = 1000,
    nms_iou: float = 0.6,
    max_detections: int = 100,
    score: Literal["sqrt", "product", "class"] = "sqrt",
    rank_by: Literal["score", "class"] = "score",
    clip_to: Literal["edge", "last_pixel"] = "edge",
    threshold_on: Literal["class", "score"] = "class",
    clip: Literal["before_nms", "after_nms", "never"] = "before_nms",
    drop_empty: bool = False,
    keep_ties: bool = False,
) -> list[Detections]:
    """Return the final boxes of each image, in pixels of the padded input.

    Args:
        prediction: what the head says about ``B`` images.
        points: the points of all levels.
        sizes_hw: ``[B, 2]`` size of each image without its padding.
        score_threshold: a point's class needs a higher probability, centerness not counted; or
            its score does, see ``threshold_on``.
        topk_per_level: at most so many candidates of each level go on to NMS.
        nms_iou: of two boxes of a class that overlap more than this the weaker one goes.
        max_detections: at most so many boxes an image.
        score: ``sqrt(cls * centerness)`` (official), ``cls * centerness`` (mmdetection), or
            ``class``: that probability alone.
        rank_by: what the top-k looks at: the score, or the class probability alone (mmdetection).
        clip_to: the image's edge, or its last pixel (official).
        threshold_on: the class probability (official), or the score (torchvision, detectron2).
        clip: boxes before NMS (official, torchvision, mmdetection), only those that are left
            (detectron2), or none (AdelaiDet, whose head leaves that to whoever uses it).
        drop_empty: leave out boxes that have no area once clipped (detectron2, mmdetection).
        keep_ties: beyond ``max_detections``, keep the boxes that score as the last one does
            (official, AdelaiDet). Only a saturated detector has such.

    Raises:
        UserError: if the threshold is no probability.
    """
    if not 0 <= score_threshold <= 1:
        raise UserError(f"model.decoder.score_threshold={score_threshold}: give a number in [0, 1]")
    # Comparing logits spares the sigmoid of all points and classes but the few that pass. Quality
    # is at most 1, so a score above the threshold takes a class above this; less for rounding.
    class_threshold = score_threshold
    if threshold_on == "score":
        class_threshold = 0.999 * (score_threshold**2 if score == "sqrt" else score_threshold)
    if 0 < class_threshold < 1:
        logit_threshold = math.log(class_threshold / (1 - class_threshold))
    else:
        logit_threshold = math.inf if class_threshold else -math.inf
    detections = []
    for image, size_hw in enumerate(sizes_hw):
        boxes, scores, labels = [], [], []
        levels = zip(
            torch.split(prediction.cls_logits[image], points.per_level),
            torch.split(prediction.ltrb_px[image], points.per_level),
            torch.split(prediction.quality_logits[image], points.per_level),
            torch.split(points.xy, points.per_level),
            strict=True,
        )
        for cls_logits, ltrb_px, quality_logits, xy in levels:
            point, label = (cls_logits > logit_threshold).nonzero(as_tuple=True)
            cls = cls_logits[point, label].float().sigmoid()
            candidate_score = cls
            if score != "class":
                candidate_score = cls * quality_logits[point].float().sigmoid()
            if threshold_on == "score":
                final = candidate_score.sqrt() if score == "sqrt" else candidate_score
                passed = final > score_threshold
                point, label, cls = point[passed], label[passed], cls[passed]
                candidate_score = candidate_score[passed]
            ranking = candidate_score if rank_by == "score" else cls
            best = ranking.topk(min(topk_per_level, len(ranking))).indices
            boxes.append(ltrb_to_xyxy(xy[point[best]], ltrb_px[point[best]].float()))
            scores.append(candidate_score[best])
            labels.append(label[best])
        found = Detections(torch.cat(boxes), torch.cat(scores), torch.cat(labels))
        if score == "sqrt":
            found = Detections(found.boxes_xyxy, found.scores.sqrt(), found.labels)
        if clip == "before_nms":
            found = _clipped(found, size_hw, clip_to, drop_empty)
        keep = batched_nms(found.boxes_xyxy, found.scores, found.labels, nms_iou)
        best = keep[:max_detections]
        if keep_ties and len(best):
            best = keep[found.scores[keep] >= found.scores[best[-1]]]
        found = _rows(found, best)
        if clip == "after_nms":
            found = _clipped(found, size_hw, clip_to, drop_empty)
        detections.append(found)
    return detections


def _clipped(found: Detections, size_hw: Tensor, clip_to: str, drop_empty: bool) -> Detections:
    boxes = clip_boxes(found.boxes_xyxy, size_hw, last_pixel=clip_to == "last_pixel")
    clipped = Detections(boxes, found.scores, found.labels)
    if not drop_empty:
        return clipped
    return _rows(clipped, (boxes[:, 2:] > boxes[:, :2]).all(dim=1))


def _rows(found: Detections, rows: Tensor) -> Detections:
    return Detections(found.boxes_xyxy[rows], found.scores[rows], found.labels[rows])
