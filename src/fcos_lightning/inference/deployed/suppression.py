"""NMS of a whole batch at once, as a step that a graph can hold.

Legend: ``B`` images, ``N`` candidates of each, ``S`` those that are left of all images.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import nms

#: Below every score; what is no candidate scores ``NONE``.
FLOOR, NONE = -0.5, -1.0

Suppression = Callable[[Tensor, Tensor, Tensor, int, float, int], Tensor]


def unsuppressed(
    boxes_xyxy: Tensor, scores: Tensor, labels: Tensor, classes: int, iou: float, most: int
) -> Tensor:
    """Return ``[B, N]`` bool: which candidates no better one of their class overlaps.

    Args:
        boxes_xyxy: ``[B, N, 4]`` pixels, right not left of left, bottom not above top.
        scores: ``[B, N]``; ``NONE`` where there is no candidate.
        labels: ``[B, N]`` int64.
        classes: how many there are.
        iou: above which the weaker one goes.
        most: of a class and image, so many are asked for; others may be named or not.
    """
    # Each class of each image on a plane of its own, whole pixels apart: exact in float64.
    images = torch.arange(boxes_xyxy.shape[0], device=labels.device)[:, None]
    wide = boxes_xyxy.double()
    apart = (wide.amax() - wide.amin()).ceil() + 1
    wide = wide + ((images * classes + labels) * apart)[..., None]
    (candidates,) = (scores.flatten() > FLOOR).nonzero(as_tuple=True)
    kept = nms(wide.flatten(0, 1)[candidates], scores.flatten()[candidates].double(), iou)
    left = torch.zeros_like(scores.flatten(), dtype=torch.bool)
    return left.index_fill(0, candidates[kept], True).view_as(scores)


@torch.library.custom_op("fcos_lightning::unsuppressed", mutates_args=())
def unsuppressed_by_runtime(
    boxes_xyxy: Tensor, scores: Tensor, labels: Tensor, classes: int, iou: float, most: int
) -> Tensor:
    """Return what ``unsuppressed`` does, as one operation that ``in_onnx`` has a counterpart of."""
    return unsuppressed(boxes_xyxy, scores, labels, classes, iou, most)


@unsuppressed_by_runtime.register_fake
def _(
    boxes_xyxy: Tensor, scores: Tensor, labels: Tensor, classes: int, iou: float, most: int
) -> Tensor:
    return torch.empty_like(scores, dtype=torch.bool)


def in_onnx(
    boxes_xyxy: Any,  # noqa: ANN401  # symbolic values of the exporter, here and below
    scores: Any,  # noqa: ANN401
    labels: Any,  # noqa: ANN401
    classes: int,
    iou: float,
    most: int,
) -> Any:  # noqa: ANN401
    """Return the same in ONNX's standard operators."""
    from onnxscript import opset20 as op

    each = op.Constant(value_ints=list(range(classes)))
    of_class = op.Equal(
        op.Unsqueeze(labels, op.Constant(value_ints=[1])),
        op.Unsqueeze(each, op.Constant(value_ints=[1])),
    )  # [B, C, N]
    by_class = op.Where(
        of_class,
        op.Unsqueeze(scores, op.Constant(value_ints=[1])),
        op.Constant(value_float=NONE),
    )
    chosen = op.NonMaxSuppression(
        boxes_xyxy,  # read as yxyx, which overlaps alike
        by_class,
        op.Constant(value_ints=[most]),
        op.Constant(value_floats=[above(iou)]),
        op.Constant(value_floats=[FLOOR]),
    )  # [S, 3]: image, class, candidate
    places = op.Gather(chosen, op.Constant(value_ints=[0, 2]), axis=1)
    ones = op.Gather(
        op.Add(op.Mul(chosen, op.Constant(value_int=0)), op.Constant(value_int=1)),
        op.Constant(value_int=0),
        axis=1,
    )  # [S]
    none = op.Mul(labels, op.Constant(value_int=0))  # [B, N]
    return op.Greater(op.ScatterND(none, places, ones), op.Constant(value_int=0))


def above(iou: float) -> float:
    """Return the float32 that others exceed just where they exceed a threshold of float64."""
    near = np.float32(iou)
    return float(np.nextafter(near, np.float32(-math.inf)) if float(near) > iou else near)
