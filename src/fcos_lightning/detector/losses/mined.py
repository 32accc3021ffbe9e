"""Losses of rows of logits, of which the background keeps only what it finds hardest.

One row belongs to one point. The loss of every row is worked out, then those that count are chosen,
and the slopes of the others become 0: the gradient is the one tensor of the logits' size.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from fcos_lightning.structures.on_device import known_at_once

#: Logits worked on at a time: on a processor what its cache holds, elsewhere what fills a GPU.
_PIECE = {"cpu": 2**18}
_PIECE_ELSEWHERE = 2**25


class RowLoss(ABC):
    """A loss of each row of logits, and its slope. ``N`` rows at a time, ``C`` classes."""

    @abstractmethod
    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the loss ``[N]`` of float32 logits ``[N, C]`` and labels ``[N]``, -1 background.

        Torch can derive it.
        """

    @abstractmethod
    def loss_and_slope(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the same, and the derivative of each loss by its logits, ``[N, C]``."""


def mined_sum(
    kind: RowLoss,
    logits: Tensor,
    labels: Tensor,
    negatives: float,
    ignored: Tensor | None = None,
) -> Tensor:
    """Return the sum of the losses of all positives and of the hardest background of each image.

    Args:
        kind: of loss.
        logits: ``[B, P, C]``.
        labels: ``[B, P]`` int64, -1 is background.
        negatives: so many points of the background for each positive of the image; an image
            without any has as many as one with one, so that it is learnt from too.
        ignored: ``[B, P]`` bool, points that are left out; None: none is.

    Returns:
        A scalar, float32.
    """
    if torch.compiler.is_compiling():  # the compiler itself fuses the plain formula
        return plain_mined_sum(kind, logits, labels, negatives, ignored)
    total: Tensor = _MinedSum.apply(kind, logits, labels, negatives, ignored)
    return total


def plain_mined_sum(
    kind: RowLoss,
    logits: Tensor,
    labels: Tensor,
    negatives: float,
    ignored: Tensor | None = None,
) -> Tensor:
    """Return the same as ``mined_sum``, with the gradient that torch derives."""
    losses = kind.loss(logits.float().flatten(0, 1), labels.flatten()).view(labels.shape)
    kept = counted(losses.detach(), labels, negatives, ignored)
    return torch.where(kept, losses, 0.0).sum()


def counted(
    losses: Tensor, labels: Tensor, negatives: float, ignored: Tensor | None = None
) -> Tensor:
    """Return which points count, ``[B, P]`` bool: see ``mined_sum``; of equal losses the first."""
    positive = labels >= 0
    allowed = ~positive if ignored is None else ~positive & ~ignored
    wanted = (positive.sum(dim=1, keepdim=True).clamp(min=1) * negatives).floor()
    # Numbers that are not negative have the order of their bits; what is not allowed comes last.
    bits = torch.where(allowed, losses.clamp(min=0).view(torch.int32), -1)
    least = _least_of_largest(bits, wanted)
    above, equal = bits > least, bits == least
    rest = wanted - above.sum(dim=1, keepdim=True)
    chosen = above | (equal & (equal.cumsum(dim=1) <= rest))
    return positive | (chosen & allowed)


def _least_of_largest(numbers: Tensor, count: Tensor) -> Tensor:
    """Return the ``count``-th largest of each row, bit by bit: a sort would take ten times as long.

    Args:
        numbers: ``[B, P]`` int32.
        count: ``[B, 1]``; with 0, what is returned is larger than all.

    Returns:
        ``[B, 1]`` int32; 0 if a row has not as many numbers above that.
    """
    found = torch.zeros_like(numbers[:, :1])
    reached = torch.empty(numbers.shape, device=numbers.device)
    for bit in range(30, -1, -1):
        larger = found + (1 << bit)
        # Sums of float32 are exact up to 2^24 points, and far faster than those of bool.
        torch.ge(numbers, larger, out=reached)
        enough = reached.sum(dim=1, keepdim=True) >= count
        found = torch.where(enough, larger, found)
    return found


def _pieces(logits: Tensor) -> Iterator[tuple[int, slice]]:
    """Image by image, so many rows that their logits stay in the cache."""
    images, points, classes = logits.shape
    height = max(_PIECE.get(logits.device.type, _PIECE_ELSEWHERE) // max(classes, 1), 1)
    for image in range(images):
        for start in range(0, points, height):
            yield image, slice(start, start + height)


class _MinedSum(torch.autograd.Function):
    """On a processor slopes are worked out of what counts alone; elsewhere along with the losses.

    There it would have to be waited for how many rows count, and both take the same exponentials.
    """

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401  # torch's own
        kind: RowLoss,
        logits: Tensor,
        labels: Tensor,
        negatives: float,
        ignored: Tensor | None,
    ) -> Tensor:
        losses = torch.empty(labels.shape, device=logits.device)
        ctx.of_few = known_at_once(logits)
        with_slopes = ctx.needs_input_grad[1] and not ctx.of_few
        # In the order in which the logits lie in memory, whatever that is.
        slopes = torch.empty_like(logits) if with_slopes else None
        for image, part in _pieces(logits):
            rows = logits[image, part].float(), labels[image, part]
            if slopes is None:
                losses[image, part] = kind.loss(*rows)
            else:
                losses[image, part], slopes[image, part] = kind.loss_and_slope(*rows)
        kept = counted(losses, labels, negatives, ignored)
        ctx.kind, ctx.slopes = kind, slopes
        ctx.save_for_backward(logits, labels, kept)
        return torch.where(kept, losses, 0.0).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[None, Tensor, None, None, None]:  # noqa: ANN401
        logits, labels, kept = ctx.saved_tensors
        if ctx.of_few:
            gradient = torch.zeros_like(logits)
            rows = kept.nonzero(as_tuple=True)
            height = max(_PIECE["cpu"] // max(logits.shape[-1], 1), 1)
            for some in zip(*(one.split(height) for one in rows), strict=True):
                _, slope = ctx.kind.loss_and_slope(logits[some].float(), labels[some])
                gradient[some] = slope.mul_(upstream).to(gradient.dtype)
            return None, gradient, None, None, None
        slopes, ctx.slopes = ctx.slopes, None
        if slopes is None:  # asked for once more: the first time the gradient took their place
            slopes = torch.empty_like(logits)
            for image, part in _pieces(logits):
                of_part = logits[image, part].float(), labels[image, part]
                _, slopes[image, part] = ctx.kind.loss_and_slope(*of_part)
        gradient = slopes.mul_((kept * upstream)[..., None].to(slopes.dtype))
        return None, gradient, None, None, None
