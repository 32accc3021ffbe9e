"""What the decoders do, in steps of fixed shapes that a graph can hold.

A detector's own decoders go from image to image and look at as many candidates as there are. Here
each step is one for the whole batch, and there are always as many candidates as there may be: what
is none scores ``NONE``. Whoever exports compares the two.

Legend: ``B`` images, ``P`` points of all levels, ``C`` classes, ``N`` candidates of an image, ``K``
detections of the image that has most.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from fcos_lightning.boxes import clip_boxes, ltrb_to_xyxy
from fcos_lightning.detector import DenseDetector
from fcos_lightning.detector.decoders.centernet import PeakDecoder
from fcos_lightning.detector.decoders.nms import NMSDecoder
from fcos_lightning.detector.decoders.ssd import SSDDecoder, as_sigmoid
from fcos_lightning.detector.parts import Decoder
from fcos_lightning.errors import UserError
from fcos_lightning.inference.deployed.suppression import FLOOR, NONE, Suppression
from fcos_lightning.structures import Points, Prediction

#: Boxes ``[B, K, 4]``, scores ``[B, K]``, labels ``[B, K]``.
Found = tuple[Tensor, Tensor, Tensor]


def check_decoder(detector: DenseDetector) -> None:
    """Refuse a detector whose decoder is none of ours.

    Raises:
        UserError: saying what to do.
    """
    decoder = detector.decoder
    if type(decoder) not in (NMSDecoder, SSDDecoder, PeakDecoder):
        raise UserError(
            f"this detector's decoder is {type(decoder).__name__}, code of its own, which no graph "
            "holds; give nms=false for a model of the prediction alone"
        )


def decoded(
    decoder: Decoder,
    prediction: Prediction,
    points: Points,
    size_hw: Tensor,
    suppress: Suppression,
) -> Found:
    """Return the final boxes of a batch of images of one size, best first.

    Rows beyond an image's own detections have zeros, and label -1.

    Args:
        decoder: one of ours.
        prediction: of ``B`` images.
        points: of all levels.
        size_hw: ``[2]`` size of the images without padding.
        suppress: how NMS is done.
    """
    if isinstance(decoder, PeakDecoder):
        return _trimmed(*_peaks(decoder, prediction, points, size_hw))
    assert isinstance(decoder, NMSDecoder)
    boxes, scores, labels = _candidates(decoder, prediction, points)
    if decoder.clip == "before_nms":
        boxes, scores = _clipped(decoder, boxes, scores, size_hw)
    left, top, right, bottom = decoder.compared(boxes).unbind(-1)
    # A box turned inside out overlaps nothing, as if it had no area.
    sound = torch.stack([left, top, right.maximum(left), bottom.maximum(top)], dim=-1)
    number = boxes.shape[1]
    most = number if decoder.keep_ties else min(decoder.max_detections, number)
    classes = prediction.cls_logits.shape[-1]
    kept = suppress(sound, scores, labels, classes, decoder.nms_iou, most)
    scores, best = torch.where(kept, scores, NONE).topk(most)
    if decoder.keep_ties:
        last = scores[:, min(decoder.max_detections, number) - 1 :][:, :1]
        scores = torch.where(scores >= last, scores, NONE)
    boxes = boxes.gather(1, best[..., None].expand(-1, -1, 4))
    labels = labels.gather(1, best)
    if decoder.clip == "after_nms":
        boxes, scores = _clipped(decoder, boxes, scores, size_hw)
        if decoder.drop_empty:  # no gaps
            scores, order = scores.topk(most)
            boxes = boxes.gather(1, order[..., None].expand(-1, -1, 4))
            labels = labels.gather(1, order)
    return _trimmed(boxes, scores, labels)


def _candidates(decoder: NMSDecoder, prediction: Prediction, points: Points) -> Found:
    """Return what passes threshold and top-k, see ``NMSDecoder.passing``; ``N`` of each image."""
    logits, quality = prediction.cls_logits.float(), prediction.quality_logits
    if isinstance(decoder, SSDDecoder):
        logits = as_sigmoid(logits)
    score_kind = "class" if quality is None else decoder.score
    sure = torch.ones_like(logits[..., :1])
    if score_kind != "class" and quality is not None:
        sure = quality.float().sigmoid()[..., None]

    def scored(logits: Tensor, sure: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the top-k looks at, ``NONE`` of what does not pass, and the scores."""
        cls = logits.sigmoid()
        score = cls * sure
        final = score.sqrt() if score_kind == "sqrt" else score
        if decoder.threshold_on == "score":
            passed = final > decoder.score_threshold
        else:
            passed = logits > _logit(decoder.score_threshold)
        ranking = score if decoder.rank_by == "score" else cls
        return torch.where(passed, ranking, NONE), final

    # Of a point's classes the likeliest is the best, so that few points are looked at wholly.
    ranking, _ = scored(logits.amax(dim=-1, keepdim=True), sure)
    count, first = decoder.topk_per_level, 0
    chosen, final, labels = [], [], []
    for number in points.per_level:
        ranks, point = _best(ranking[:, first : first + number, 0], count)
        point = point + first
        of_points = logits.gather(1, point[..., None].expand(-1, -1, logits.shape[-1]))
        pairs, scores = scored(of_points, sure.gather(1, point[..., None]))
        pairs = torch.where(ranks[..., None] > FLOOR, pairs, NONE)
        best_ranks, best = pairs.flatten(1).topk(count)
        chosen.append(point.gather(1, best // logits.shape[-1]))
        labels.append(best % logits.shape[-1])
        scores = scores.flatten(1).gather(1, best)
        final.append(torch.where(best_ranks > FLOOR, scores, NONE))
        first = first + number
    point = torch.cat(chosen, dim=1)
    return _boxes(prediction, points, point), torch.cat(final, dim=1), torch.cat(labels, dim=1)


def _peaks(decoder: PeakDecoder, prediction: Prediction, points: Points, size_hw: Tensor) -> Found:
    """Return the best peaks, see ``PeakDecoder``; ``max_detections`` of each image."""
    logits = prediction.cls_logits.float()
    batch, _, classes = logits.shape
    largest, first = [], 0
    for height, width in points.feature_sizes:
        number = height * width
        planes = logits[:, first : first + number].transpose(1, 2)
        planes = planes.reshape(batch, classes, height, width)
        around = F.max_pool2d(planes, decoder.kernel, stride=1, padding=decoder.kernel // 2)
        largest.append(around.flatten(2).transpose(1, 2))
        first = first + number
    boxes = ltrb_to_xyxy(points.xy, prediction.ltrb_px.float())
    boxes = clip_boxes(boxes, size_hw, last_pixel=decoder.clip_to == "last_pixel")
    real = (boxes[..., 2:] > boxes[..., :2]).all(dim=-1, keepdim=True)
    peak = (logits == torch.cat(largest, dim=1)) & (logits > _logit(decoder.score_threshold)) & real
    scores = torch.where(peak, logits.sigmoid(), NONE)
    ranks, point = _best(scores.amax(dim=-1), decoder.max_detections)
    pairs = scores.gather(1, point[..., None].expand(-1, -1, classes))
    pairs = torch.where(ranks[..., None] > FLOOR, pairs, NONE)
    best_scores, best = pairs.flatten(1).topk(decoder.max_detections)
    point = point.gather(1, best // classes)
    return boxes.gather(1, point[..., None].expand(-1, -1, 4)), best_scores, best % classes


def _best(ranking: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return rank and place of the ``count`` best of ``[B, P]``, ``NONE`` beyond the end."""
    ranks, places = F.pad(ranking, (0, count), value=NONE).topk(count)
    return ranks, torch.where(ranks > FLOOR, places, 0)


def _boxes(prediction: Prediction, points: Points, point: Tensor) -> Tensor:
    """Return the boxes ``[B, N, 4]`` of points ``[B, N]``."""
    ltrb = prediction.ltrb_px.float().gather(1, point[..., None].expand(-1, -1, 4))
    return ltrb_to_xyxy(points.xy[point], ltrb)


def _clipped(
    decoder: NMSDecoder, boxes: Tensor, scores: Tensor, size_hw: Tensor
) -> tuple[Tensor, Tensor]:
    boxes = clip_boxes(boxes, size_hw, last_pixel=decoder.clip_to == "last_pixel")
    if decoder.drop_empty:
        scores = torch.where((boxes[..., 2:] > boxes[..., :2]).all(dim=-1), scores, NONE)
    return boxes, scores


def _trimmed(boxes: Tensor, scores: Tensor, labels: Tensor) -> Found:
    """Leave out the rows that no image needs, and mark those that some do not need."""
    found = scores > FLOOR
    (rows,) = found.any(dim=0).nonzero(as_tuple=True)
    found = found[:, rows]
    return (
        torch.where(found[..., None], boxes[:, rows], 0.0),
        torch.where(found, scores[:, rows], 0.0),
        torch.where(found, labels[:, rows], -1),
    )


def _logit(threshold: float) -> float:
    """Return the logit that a class must exceed."""
    if 0 < threshold < 1:
        return math.log(threshold / (1 - threshold))
    return math.inf if threshold else -math.inf
