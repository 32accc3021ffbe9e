"""The distribution focal loss of all points: one pass for loss and gradient, without copies."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from fcos_lightning.detector.rows import rows_that_count, spread, taken

#: Logits worked on at a time: on a processor what its cache holds, elsewhere what fills a GPU.
_PIECE = {"cpu": 2**17}
_PIECE_ELSEWHERE = 2**25
#: By so much the largest distance that is asked for stays below the last step (official code).
_BELOW = 0.1


def distribution_focal_sum(side_logits: Tensor, steps: Tensor, weight: Tensor) -> Tensor:
    """Return the weighted sum of the distribution focal loss (arXiv 2006.04388, eq. 6).

    The cross-entropy with the two whole steps beside the distance, each by how near it is, as the
    mean over the four sides. Equal to ``plain_distribution_focal_sum``.

    Args:
        side_logits: ``[B, P, 4, N]`` of the distance being 0, 1, ... N - 1 steps.
        steps: ``[B, P, 4]`` float32, the distances; beyond the last step, nearly that.
        weight: ``[B, P]`` float32, 0 where there is no distance.

    Returns:
        A scalar, float32.
    """
    if torch.compiler.is_compiling():
        return plain_distribution_focal_sum(side_logits, steps, weight)
    total: Tensor = _DistributionSum.apply(side_logits, steps, weight)
    return total


def plain_distribution_focal_sum(side_logits: Tensor, steps: Tensor, weight: Tensor) -> Tensor:
    """Return the same as ``distribution_focal_sum``, by the formula as it is written."""
    near, share = _neighbours(steps, side_logits.shape[-1])
    logs = side_logits.float().log_softmax(dim=-1)
    at_near, at_far = (logs.gather(-1, index[..., None])[..., 0] for index in (near, near + 1))
    per_side = -(at_near * (1 - share) + at_far * share)
    return (per_side.mean(dim=-1) * weight).sum()


def _neighbours(steps: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the whole step below each distance, and how far beyond it the distance is."""
    steps = steps.clamp(min=0, max=count - 1 - _BELOW)
    near = steps.floor()
    return near.long(), steps - near


class _DistributionSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, side_logits: Tensor, steps: Tensor, weight: Tensor) -> Tensor:  # noqa: ANN401
        count = side_logits.shape[-1]
        points = rows_that_count(weight.flatten() != 0)
        rows = taken(side_logits.detach().flatten(0, -3), points).flatten(0, 1)
        steps = taken(steps.flatten(0, -2), points)
        near, share = (one.flatten()[:, None] for one in _neighbours(steps, count))
        weight = taken(weight.flatten() / 4, points)[:, None].expand_as(steps).reshape(-1, 1)
        gradient = torch.empty_like(rows) if ctx.needs_input_grad[0] else None
        height = max(_PIECE.get(rows.device.type, _PIECE_ELSEWHERE) // count, 1)
        sums = [weight.new_zeros(())]
        for start in range(0, len(rows), height):
            piece = slice(start, start + height)
            below, beyond, weighs = near[piece], share[piece], weight[piece]
            logs = rows[piece].float().log_softmax(dim=-1)
            both = logs.gather(1, below) * (1 - beyond) + logs.gather(1, below + 1) * beyond
            sums.append(-(both * weighs).sum())
            if gradient is not None:
                # The slope of a cross-entropy: what is predicted less what is wanted.
                slope = logs.exp_().mul_(weighs)
                slope.scatter_add_(1, below, (beyond - 1) * weighs)
                slope.scatter_add_(1, below + 1, -beyond * weighs)
                gradient[piece] = slope
        if gradient is not None:
            ctx.save_for_backward(gradient)
            ctx.points, ctx.shape = points, side_logits.shape
        return torch.stack(sums).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None]:  # noqa: ANN401
        (gradient,) = ctx.saved_tensors
        scaled = (gradient * upstream.to(gradient.dtype)).view(-1, *ctx.shape[-2:])
        return spread(scaled, ctx.points, ctx.shape), None, None
