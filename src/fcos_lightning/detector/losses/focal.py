"""Focal losses of all points and classes: one pass for loss and gradient, without copies."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable
from torchvision.ops import sigmoid_focal_loss

from fcos_lightning.layers.softplus import quick_softplus

#: Logits worked on at a time: on a processor what its cache holds, elsewhere what fills a GPU.
_PIECE = {"cpu": 2**17}
_PIECE_ELSEWHERE = 2**25
#: A logit whose probability is 0 in every precision, and which every precision can hold.
_NEVER = -1e4


def sigmoid_focal_sum(
    logits: Tensor, labels: Tensor, alpha: float, gamma: float, ignored: Tensor | None = None
) -> Tensor:
    """Return the sum of the focal loss over all points and classes (arXiv 1708.02002, eq. 5).

    Equal to ``plain_focal_sum``. Torch would keep a dozen tensors of the logits' size until the
    gradient is asked for; here the gradient, worked out along with the loss, is the only one.

    Args:
        logits: ``[B, P, C]``.
        labels: ``[B, P]`` int64, -1 is background.
        alpha: weight of the right class, ``1 - alpha`` of the others; negative: no weights.
        gamma: how strongly easy examples are faded out.
        ignored: ``[B, P]`` bool, points that are left out; None: none is.

    Returns:
        A scalar, float32.
    """
    if torch.compiler.is_compiling():  # the compiler itself fuses the plain formula
        return plain_focal_sum(_without(logits, ignored), labels, alpha, gamma)
    total: Tensor = _FocalSum.apply(logits, labels, alpha, gamma, None, ignored)
    return total


def quality_focal_sum(
    logits: Tensor, labels: Tensor, goal: Tensor, beta: float, ignored: Tensor | None = None
) -> Tensor:
    """Return the sum of the quality focal loss over all points and classes.

    ``|y - p|^beta`` times the cross-entropy of ``p`` and ``y``, where ``y`` is a point's goal for
    its class and 0 for others (arXiv 2006.04388, eq. 5). Equal to ``plain_quality_focal_sum``.

    Args:
        logits: ``[B, P, C]``.
        labels: ``[B, P]`` int64, -1 is background.
        goal: ``[B, P]`` float32 between 0 and 1, without gradient.
        beta: how strongly easy examples are faded out, 1 or more, or 0.
        ignored: ``[B, P]`` bool, points that are left out; None: none is.

    Returns:
        A scalar, float32.
    """
    if torch.compiler.is_compiling():
        return plain_quality_focal_sum(_without(logits, ignored), labels, goal, beta)
    total: Tensor = _FocalSum.apply(logits, labels, -1.0, beta, goal, ignored)
    return total


def _without(logits: Tensor, ignored: Tensor | None) -> Tensor:
    """Return logits of which ignored points, taken for background, have neither loss nor slope."""
    return logits if ignored is None else logits.masked_fill(ignored[..., None], _NEVER)


def plain_quality_focal_sum(logits: Tensor, labels: Tensor, goal: Tensor, beta: float) -> Tensor:
    """Return the same as ``quality_focal_sum``, by the formula as it is written."""
    classes = torch.arange(logits.shape[-1], device=logits.device)
    goals = torch.where(labels[..., None] == classes, goal[..., None], 0.0)
    logits = logits.float()
    cross_entropy = F.binary_cross_entropy_with_logits(logits, goals, reduction="none")
    return ((goals - logits.sigmoid()).abs() ** beta * cross_entropy).sum()


def plain_focal_sum(logits: Tensor, labels: Tensor, alpha: float, gamma: float) -> Tensor:
    """Return the same as ``sigmoid_focal_sum``, by torchvision's formula."""
    classes = torch.arange(logits.shape[-1], device=logits.device)
    one_hot = (labels[..., None] == classes).float()
    total: Tensor = sigmoid_focal_loss(logits.float(), one_hot, alpha, gamma, reduction="sum")
    return total


class _FocalSum(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401
        logits: Tensor,
        labels: Tensor,
        alpha: float,
        gamma: float,
        goal: Tensor | None,
        ignored: Tensor | None,
    ) -> Tensor:
        ctx.powers = alpha, gamma
        ctx.save_for_backward(logits, labels, goal, ignored)
        total, ctx.gradient = _sum_and_gradient(
            logits, labels, alpha, gamma, goal, ignored, ctx.needs_input_grad[0]
        )
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        logits, labels, goal, ignored = ctx.saved_tensors
        gradient, ctx.gradient = ctx.gradient, None
        if gradient is None:  # asked for once more: the first time it was handed out
            alpha, gamma = ctx.powers
            _, gradient = _sum_and_gradient(logits, labels, alpha, gamma, goal, ignored, True)
            assert gradient is not None
        return gradient.mul_(upstream.to(gradient.dtype)), *([None] * 5)


def _sum_and_gradient(
    logits: Tensor,
    labels: Tensor,
    alpha: float,
    gamma: float,
    goal: Tensor | None,
    ignored: Tensor | None,
    with_gradient: bool,
) -> tuple[Tensor, Tensor | None]:
    """Return the sum of the losses and its derivative by the logits, if asked for.

    Every logit is taken for background, but for the one of each positive point's class.
    """
    right, others = (alpha, 1 - alpha) if alpha >= 0 else (1.0, 1.0)
    rows = logits.detach().flatten(0, -2)
    labels = labels.flatten()[:, None]
    positive, column = labels >= 0, labels.clamp(min=0)
    at_column = rows.gather(1, column)
    # As background, minus infinity has neither loss nor slope.
    replaced = torch.where(positive, -torch.inf, at_column)
    counts = None if ignored is None else ignored.flatten()[:, None].logical_not().float()

    gradient = torch.empty_like(rows) if with_gradient else None
    height = max(_PIECE.get(rows.device.type, _PIECE_ELSEWHERE) // rows.shape[1], 1)
    sums = []
    for start in range(0, len(rows), height):
        piece = slice(start, start + height)
        background = rows[piece].scatter(1, column[piece], replaced[piece]).float()
        loss, slope = loss_and_slope(background, gamma, with_gradient)
        if counts is None:
            sums.append(loss.sum())
        else:
            sums.append((loss.sum(dim=1, keepdim=True) * counts[piece]).sum())
        if gradient is not None:
            gradient[piece] = slope.mul_(others if counts is None else counts[piece] * others)
    if goal is None:
        # The right class seen from its other side: p becomes 1 - p and the slope turns round.
        loss, slope = loss_and_slope(-at_column.float(), gamma, with_gradient)
        slope = -slope
    else:
        loss, slope = _soft_loss_and_slope(at_column.float(), goal.reshape(-1, 1), gamma)
    if counts is not None:
        positive = positive & (counts > 0)
    of_positives = torch.where(positive, loss, 0.0).sum()
    if gradient is not None:
        kept = gradient.gather(1, column)
        gradient.scatter_(1, column, torch.where(positive, (right * slope).to(kept), kept))
        gradient = gradient.view(logits.shape)
    return others * torch.stack(sums).sum() + right * of_positives, gradient


def loss_and_slope(logits: Tensor, gamma: float, with_slope: bool) -> tuple[Tensor, Tensor]:
    """Return ``-p^gamma log(1 - p)``, ``p = sigmoid(logits)``, and its derivative if asked for."""
    probability = logits.sigmoid()
    cross_entropy = quick_softplus(logits)
    fading = _power(probability, gamma)
    slope = probability
    if with_slope:
        slope = (1 - probability).mul_(cross_entropy).mul_(gamma).add_(probability).mul_(fading)
    return cross_entropy.mul_(fading), slope


def _power(probability: Tensor, gamma: float) -> Tensor:
    """Return ``probability ** gamma``; of the usual exponents several times as fast."""
    if gamma == 2:
        return probability.square()
    if gamma == 1.5:
        return probability.sqrt().mul_(probability)
    return probability**gamma


def _soft_loss_and_slope(logits: Tensor, goal: Tensor, beta: float) -> tuple[Tensor, Tensor]:
    """Return ``|y - p|^beta`` times the cross-entropy of ``p`` and ``y``, and its derivative."""
    off = logits.sigmoid() - goal
    cross_entropy = quick_softplus(logits) - goal * logits
    fading = off.abs() ** beta
    # Of the power by p times that of p by the logit; below 1 it has none where p is right.
    steep = beta * off.abs() ** (beta - 1) * off.sign() if beta else torch.zeros_like(off)
    within = logits.sigmoid() * (-logits).sigmoid()
    return fading * cross_entropy, fading * off + steep * within * cross_entropy
