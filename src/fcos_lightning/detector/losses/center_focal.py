"""The focal loss with Gaussians around centers, in one pass over the logits."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from fcos_lightning.detector.assigners.centernet import CenterAssignment
from fcos_lightning.detector.losses.focal import loss_and_slope
from fcos_lightning.structures import Points

#: Logits worked on at a time: on a processor what its cache holds, elsewhere what fills a GPU.
_PIECE = {"cpu": 2**17}
_PIECE_ELSEWHERE = 2**25


def center_map(assignment: CenterAssignment, points: Points, classes: int) -> Tensor:
    """Return how near each point is to a center of each class, ``[B, C, P]`` float32.

    It is the largest of the Gaussians of the class's boxes: 1 on a center, a sixth of the diameter
    their deviation, nothing beyond the radius.

    The boxes are drawn one after the other, each with a row and a column of its own.

    Args:
        assignment: of ``B`` images.
        points: of a single level.
        classes: ``C``.
    """
    height, width = points.feature_sizes[0]
    labels, point, radius = assignment.box_labels, assignment.point_of_box, assignment.radius
    deviation = (2 * radius + 1) / 6
    # A box of class c draws upon plane c, padding on one that is cut off.
    plane = torch.where(labels >= 0, labels.clamp(max=classes), classes)
    drawn = radius.new_zeros(len(labels), classes + 1, height * width)
    image = torch.arange(len(labels), device=labels.device)
    lines = []
    for place, length in ((point % width, width), (point // width, height)):
        away = torch.arange(length, device=labels.device) - place[..., None]
        line = (-away.square() / (2 * deviation[..., None].square())).exp()
        lines.append(torch.where(away.abs() <= radius[..., None], line, 0.0))
    across, down = lines
    for box in range(labels.shape[1]):
        gaussian = (down[:, box, :, None] * across[:, box, None, :]).flatten(1)
        before = drawn[image, plane[:, box]]
        drawn[image, plane[:, box]] = torch.maximum(before, gaussian)
    return drawn[:, :classes]


def center_focal_sum(
    logits: Tensor,
    near: Tensor,
    point: Tensor,
    labels: Tensor,
    gamma: float,
    power: float,
    ignored: Tensor | None = None,
) -> Tensor:
    """Return the sum of the focal loss over all points and classes (arXiv 1904.07850, eq. 1).

    Args:
        logits: ``[B, P, C]``.
        near: ``[B, C, P]`` float32, see ``center_map``. It is used up by the gradient.
        point: ``[B, G]`` int64, of each center.
        labels: ``[B, G]`` int64, its class, -1 is none.
        gamma: how strongly easy examples are faded out.
        power: of ``1 - near``, by which background counts.
        ignored: ``[B, P]`` bool, points that are no background either; None: none is.

    Returns:
        A scalar, float32.
    """
    planes = logits.transpose(1, 2)
    # Where nothing is, some logit is looked at, and left out.
    image = torch.arange(len(point), device=point.device)[:, None]
    centers = image, labels.clamp(min=0), point
    real = labels >= 0
    if torch.compiler.is_compiling():  # the compiler itself fuses the plain formula
        loss, _ = loss_and_slope(planes.float(), gamma, False)
        at_center, _ = loss_and_slope(-planes[centers].float(), gamma, False)
        return (loss * _weight(near, power, ignored)).sum() + torch.where(
            real, at_center, 0.0
        ).sum()
    total: Tensor = _CenterSum.apply(planes, near, centers, real, gamma, power, ignored)
    return total


class _CenterSum(torch.autograd.Function):
    """Plane after plane of background, then the centers, which are none of it."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401  # torch's own
        planes: Tensor,
        near: Tensor,
        centers: tuple[Tensor, Tensor, Tensor],
        real: Tensor,
        gamma: float,
        power: float,
        ignored: Tensor | None,
    ) -> Tensor:
        with_slope = ctx.needs_input_grad[0]
        planes = planes.detach()
        size = _PIECE.get(planes.device.type, _PIECE_ELSEWHERE)
        count = max(size // planes.shape[2], 1)
        sums = []
        for image in range(len(planes)):
            for start in range(0, planes.shape[1], count):
                part = image, slice(start, start + count)
                loss, slope = loss_and_slope(planes[part].float(), gamma, with_slope)
                weight = _weight(near[part], power, None if ignored is None else ignored[image])
                sums.append(loss.mul_(weight).sum())
                if with_slope:
                    near[part] = slope.mul_(weight)
        # The right class seen from its other side: p becomes 1 - p and the slope turns round.
        loss, slope = loss_and_slope(-planes[centers].float(), gamma, with_slope)
        sums.append(torch.where(real, loss, 0.0).sum())
        if with_slope:
            near.index_put_(centers, torch.where(real, -slope, 0.0), accumulate=True)
            ctx.save_for_backward(near)
            ctx.dtype = planes.dtype
        return torch.stack(sums).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        (gradient,) = ctx.saved_tensors
        return (gradient * upstream).to(ctx.dtype), *([None] * 6)


def _weight(near: Tensor, power: float, ignored: Tensor | None) -> Tensor:
    """Return how much points ``[..., C, P]`` count as background; ignored ones not at all."""
    far = 1 - near
    weight = far.square_().square_() if power == 4 else far.pow_(power)
    return weight if ignored is None else weight.masked_fill_(ignored[..., None, :], 0.0)
