"""What became of all that the points of an image predict: kept, suppressed and by whom, cut.

Legend: ``P`` points, ``C`` classes, ``N`` candidates: points and classes whose score passes the
decoder's threshold.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from operator import itemgetter

import torch
import torch.nn.functional as F
from torch import Tensor

from fcos_lightning.boxes import clip_boxes, ltrb_to_xyxy
from fcos_lightning.detector.decoders.centernet import PeakDecoder
from fcos_lightning.detector.decoders.nms import NMSDecoder
from fcos_lightning.detector.parts import Decoder
from fcos_lightning.structures import Detections, Points, Prediction

#: Reported; suppressed by a better one; not among the best of its level; beyond the most that an
#: image may have; without an area.
KEPT, SUPPRESSED, CUT, BEYOND, EMPTY = range(5)
FATES = ("kept", "suppressed", "cut", "beyond", "empty")
#: Scores, or pairs of boxes, that are looked at together.
_TOGETHER = 2**20


@dataclass(frozen=True, eq=False)
class Fates:
    """What became of an image's candidates.

    Attributes:
        boxes_xyxy: ``[P, 4]`` pixels, as they would be reported.
        scores: ``[P, C]`` float32, of every class at every point, candidate or not.
        point: ``[N]`` int64, best candidate first.
        label: ``[N]`` int64.
        fate: ``[N]`` int64, one of those above.
        by: ``[N]`` int64, the candidate that suppressed it, -1 where none did.
    """

    boxes_xyxy: Tensor
    scores: Tensor
    point: Tensor
    label: Tensor
    fate: Tensor
    by: Tensor

    @property
    def score(self) -> Tensor:
        """``[N]`` the score of each candidate."""
        return self.scores[self.point, self.label]

    def detections(self) -> Detections:
        """Return what is reported, best first."""
        kept = self.fate == KEPT
        return Detections(self.boxes_xyxy[self.point[kept]], self.score[kept], self.label[kept])


@torch.no_grad()
def fates_of(
    decoder: Decoder, prediction: Prediction, points: Points, size_hw: Tensor
) -> Fates | None:
    """Return what a decoder does with the prediction of one image; None: it is not known here.

    Args:
        decoder: of this package; somebody's own has rules of its own.
        prediction: of this image alone.
        points: of all levels.
        size_hw: ``[2]`` size of the image without its padding.
    """
    if isinstance(decoder, NMSDecoder):
        return _of_nms(decoder, prediction, points, size_hw)
    if isinstance(decoder, PeakDecoder):
        return _of_peaks(decoder, prediction, points, size_hw)
    return None


def _of_nms(decoder: NMSDecoder, prediction: Prediction, points: Points, size_hw: Tensor) -> Fates:
    classes = prediction.cls_logits.shape[-1]
    boxes = ltrb_to_xyxy(points.xy, prediction.ltrb_px[0].float())
    if decoder.clip != "never":
        boxes = clip_boxes(boxes, size_hw, last_pixel=decoder.clip_to == "last_pixel")
    scores = _all_scores(decoder, prediction, points)

    wide = replace(decoder, topk_per_level=len(points.xy) * classes)
    point, found = wide.passing(prediction, points, 0)
    order = found.scores.argsort(descending=True, stable=True)
    point, label = point[order], found.labels[order]
    ranked, ranked_found = decoder.passing(prediction, points, 0)
    key, goes_on = point * classes + label, ranked * classes + ranked_found.labels
    fate = torch.where(torch.isin(key, goes_on), SUPPRESSED, CUT)
    empty = (boxes[point, 2:] <= boxes[point, :2]).any(dim=1) & decoder.drop_empty
    before = empty & (decoder.clip == "before_nms")
    fate[before & (fate != CUT)] = EMPTY

    (rows,) = (fate == SUPPRESSED).nonzero(as_tuple=True)
    before_clip = decoder.clip == "before_nms"
    compared = boxes if before_clip else ltrb_to_xyxy(points.xy, prediction.ltrb_px[0].float())
    there = Detections(compared[point[rows]], scores[point[rows], label[rows]], label[rows])
    kept = rows[decoder.kept(there)]
    every = rows[replace(decoder, max_detections=len(rows) + 1).kept(there)]
    fate[every] = BEYOND
    fate[kept] = KEPT
    if decoder.clip == "after_nms":
        fate[kept[empty[kept]]] = EMPTY
    by = _suppressors(
        decoder.compared(compared[point]),
        label,
        (fate == SUPPRESSED).nonzero().squeeze(1),
        every.sort().values,
        decoder.nms_iou,
    )
    return Fates(boxes, scores, point, label, fate, by)


def _all_scores(decoder: NMSDecoder, prediction: Prediction, points: Points) -> Tensor:
    """Return the score of each class at each point, as the decoder itself counts it, ``[P, C]``."""
    classes = prediction.cls_logits.shape[-1]
    scores = torch.zeros(len(points.xy), classes)
    every = replace(decoder, score_threshold=0.0, threshold_on="class")
    step = max(_TOGETHER // classes, 1)
    for first in range(0, len(points.xy), step):
        some = slice(first, first + step)
        count = len(points.xy[some])
        here = replace(
            points,
            xy=points.xy[some],
            stride=points.stride[some],
            feature_sizes=((count, 1),),
            strides=points.strides[:1],
            size_wh=None,
            per_cell=1,
        )
        part = prediction.changed(itemgetter((slice(None), some)))
        most = replace(every, topk_per_level=count * classes)
        point, found = most.passing(part, here, 0)
        scores[first + point, found.labels] = found.scores
    return scores


def _suppressors(
    boxes: Tensor, label: Tensor, removed: Tensor, kept: Tensor, least: float
) -> Tensor:
    """Return by which candidate each was suppressed, ``[N]``: the best that overlaps it too much.

    Args:
        boxes: ``[N, 4]`` as NMS compares them, best first.
        label: ``[N]``.
        removed: rows of those that were suppressed.
        kept: rows of those that were not, ascending.
        least: the overlap above which the weaker goes.
    """
    by = torch.full((len(boxes),), -1)
    if not len(removed):
        return by
    for rows in torch.split(removed, max(_TOGETHER // len(kept), 1)):
        same = (label[rows, None] == label[kept]) & (kept < rows[:, None])
        overlap = torch.where(same, iou_matrix(boxes[rows], boxes[kept]), -1.0)
        enough = overlap > least
        first = enough.float().argmax(dim=1)
        # NMS sets classes apart by adding to their corners, and so may round to the other side.
        by[rows] = kept[torch.where(enough.any(dim=1), first, overlap.argmax(dim=1))]
    return by


def iou_matrix(first: Tensor, second: Tensor) -> Tensor:
    """Return the overlap ``[N, M]`` of boxes ``[N, 4]`` and ``[M, 4]``; empty ones have none."""
    low = torch.maximum(first[:, None, :2], second[:, :2])
    high = torch.minimum(first[:, None, 2:], second[:, 2:])
    shared = (high - low).clamp(min=0).prod(dim=-1)
    areas = [(one[:, 2:] - one[:, :2]).clamp(min=0).prod(dim=-1) for one in (first, second)]
    return shared / (areas[0][:, None] + areas[1] - shared).clamp(min=torch.finfo().tiny)


def _of_peaks(
    decoder: PeakDecoder, prediction: Prediction, points: Points, size_hw: Tensor
) -> Fates:
    boxes = ltrb_to_xyxy(points.xy, prediction.ltrb_px[0].float())
    boxes = clip_boxes(boxes, size_hw, last_pixel=decoder.clip_to == "last_pixel")
    logits = prediction.cls_logits[0].float()
    threshold = decoder.score_threshold
    least = math.inf if threshold == 1 else -math.inf
    if 0 < threshold < 1:
        least = math.log(threshold / (1 - threshold))
    strongest, first = [], 0
    for level, (height, width) in zip(
        torch.split(logits, points.per_level), points.feature_sizes, strict=True
    ):
        planes = level.T.reshape(1, -1, height, width)
        largest, where = F.max_pool2d(
            planes, decoder.kernel, stride=1, padding=decoder.kernel // 2, return_indices=True
        )
        own = torch.arange(height * width).view(height, width)
        winner = torch.where(planes == largest, own, where)
        strongest.append(first + winner.flatten(2)[0].T)
        first += height * width
    winner = torch.cat(strongest)  # [P, C]
    point, label = (logits > least).nonzero(as_tuple=True)
    order = logits[point, label].argsort(descending=True, stable=True)
    point, label = point[order], label[order]
    # From neighbour to neighbour, each larger than the one before, to a peak.
    peak = point
    while not torch.equal(peak, winner[peak, label]):
        peak = winner[peak, label]
    fate = torch.where(peak == point, KEPT, SUPPRESSED)
    empty = (boxes[point, 2:] <= boxes[point, :2]).any(dim=1)
    fate[(fate == KEPT) & empty] = EMPTY
    fate[(fate == KEPT).nonzero().squeeze(1)[decoder.max_detections :]] = BEYOND
    row_of = torch.full(logits.shape, -1)
    row_of[point, label] = torch.arange(len(point))
    by = torch.where(fate == SUPPRESSED, row_of[peak, label], -1)
    return Fates(boxes, logits.sigmoid(), point, label, fate, by)
