"""From maps to boxes, by each source's rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torchvision.ops import nms

if TYPE_CHECKING:
    from plain_sources.detectors import Published

STRIDES = (8, 16, 32, 64, 128)


def decoded(
    model: Published, levels: list[tuple[Tensor, Tensor, Tensor]], size: tuple[int, int]
) -> tuple[Tensor, Tensor, Tensor]:
    """Return boxes, scores and labels of one image."""
    all_boxes, all_scores, all_labels = [], [], []
    for stride, (cls, ltrb, quality) in zip(STRIDES, levels, strict=False):
        probability = cls.sigmoid()
        score = probability * quality.sigmoid()
        score = score if model.source == "mmdet" else score.sqrt()
        passed = score > 0.2 if model.source == "detectron2" else probability > 0.05
        label, row, column = passed.nonzero(as_tuple=True)
        ranking = (probability if model.source == "mmdet" else score)[passed]
        best = ranking.argsort(descending=True)[:1000]
        label, row, column = label[best], row[best], column[best]
        x, y = column * stride + stride // 2, row * stride + stride // 2
        left, top, right, bottom = ltrb[:, row, column]
        all_boxes.append(torch.stack([x - left, y - top, x + right, y + bottom], dim=1))
        all_scores.append(score[label, row, column])
        all_labels.append(label)
    boxes, scores, labels = torch.cat(all_boxes), torch.cat(all_scores), torch.cat(all_labels)
    if model.source in ("official", "rosinality", "mmdet"):
        boxes, kept = _clipped(model, boxes, size)
        boxes, scores, labels = boxes[kept], scores[kept], labels[kept]
    overlap = 0.5 if model.source == "mmdet" and not model.improved else 0.6
    left_over = []
    for label in labels.unique():
        of_class = (labels == label).nonzero().flatten()
        counted = boxes[of_class]
        if model.source == "official":  # counts the pixels on both ends
            counted = torch.cat([counted[:, :2], counted[:, 2:] + 1], dim=1)
        left_over.append(of_class[nms(counted, scores[of_class], overlap)])
    rows = torch.cat(left_over)
    rows = rows[scores[rows].argsort(descending=True)]
    if len(rows) > 100 and model.source in ("official", "rosinality", "adelaidet"):
        # Their k-th value is a threshold, so what scores alike stays.
        rows = rows[scores[rows] >= scores[rows[99]]]
    else:
        rows = rows[:100]
    boxes, scores, labels = boxes[rows], scores[rows], labels[rows]
    if model.source == "detectron2":
        boxes, kept = _clipped(model, boxes, size)
        boxes, scores, labels = boxes[kept], scores[kept], labels[kept]
    return boxes, scores, labels


def _clipped(model: Published, boxes: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return boxes within the image, and which of them are to be kept."""
    inclusive = model.source in ("official", "rosinality")
    beyond = 1 if inclusive else 0
    height, width = size[0] - beyond, size[1] - beyond
    x, y = boxes[:, 0::2].clamp(0, width), boxes[:, 1::2].clamp(0, height)
    boxes = torch.stack([x[:, 0], y[:, 0], x[:, 1], y[:, 1]], dim=1)
    has_area = (boxes[:, 2:] > boxes[:, :2]).all(1)
    return boxes, torch.ones_like(has_area) if inclusive else has_area
