"""ReLU6 in place, without the copy that torch makes of its input."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


class ThriftyReLU6(nn.ReLU6):
    """ReLU6 whose gradient is told from its output: the input was above 0 and below 6 where it is.

    Torch's in-place ReLU6 copies its input first and keeps the copy for the gradient: a map more
    for each of a MobileNet's widest convolutions, written and read once more at each step.

    It overwrites its input, which nothing else may read; behind a BatchNorm nothing does.
    """

    def __init__(self) -> None:
        super().__init__(inplace=True)

    def forward(self, input: Tensor) -> Tensor:
        """Return ``input``, of any shape, clamped to 0 and 6 where it lies in memory."""
        # The compiler itself finds out what need not be kept; an exporter knows torch's own only.
        if torch.compiler.is_compiling() or not (torch.is_grad_enabled() and input.requires_grad):
            return F.relu6(input, inplace=True)
        clamped: Tensor = _Clamp.apply(input)
        return clamped


def replace_relu6(net: nn.Module) -> None:
    """Make every in-place ReLU6 of a net, in place, a thrifty one."""
    for module in net.modules():
        if type(module) is nn.ReLU6 and module.inplace:
            module.__class__ = ThriftyReLU6


class _Clamp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, input: Tensor) -> Tensor:  # noqa: ANN401
        output = input.clamp_(0, 6)
        ctx.mark_dirty(output)
        ctx.save_for_backward(output)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> Tensor:  # noqa: ANN401
        (output,) = ctx.saved_tensors
        gradient: Tensor = torch.ops.aten.hardtanh_backward(upstream, output, 0, 6)
        return gradient
