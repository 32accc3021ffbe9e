"""Convolutions that do the work of the frozen BatchNorm behind them, in training as well.

A frozen BatchNorm is a factor and a summand for each channel. The factor applied to the weights
costs next to nothing, applied to the maps two passes over the largest tensors of a step, forward
and back; and in float32 even where the convolutions run in half precision.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck
from torchvision.ops import FrozenBatchNorm2d


class FoldedConv2d(nn.Conv2d):
    """A convolution of a frozen BatchNorm's factor times its own weights.

    Weights keep their names, values and gradients: it is the same net, in other arithmetic.

    Attributes:
        norm: the BatchNorm, which stands in the net in its old place; in a tuple, lest it be
            registered twice.
    """

    norm: tuple[FrozenBatchNorm2d]

    def folded(self) -> tuple[Tensor, Tensor]:
        """Return weights and bias of an ordinary convolution that does the same."""
        (norm,) = self.norm
        scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
        shift = norm.bias - norm.running_mean * scale
        return self.weight * scale[:, None, None, None], shift

    def plain(self) -> nn.Conv2d:
        """Return an ordinary convolution that does the same."""
        with torch.no_grad():
            weight, bias = self.folded()
        made = nn.Conv2d(
            self.in_channels,
            self.out_channels,
            cast("tuple[int, int]", self.kernel_size),
            cast("tuple[int, int]", self.stride),
            cast("tuple[int, int]", self.padding),
            cast("tuple[int, int]", self.dilation),
            self.groups,
        )
        made.weight = nn.Parameter(weight, requires_grad=False)
        made.bias = nn.Parameter(bias, requires_grad=False)
        return made

    def forward(self, input: Tensor) -> Tensor:
        """Return what convolution and BatchNorm make of ``[B, C, H, W]``."""
        weight, bias = self.folded()
        return F.conv2d(input, weight, bias, self.stride, self.padding, self.dilation, self.groups)


class PassedBatchNorm2d(FrozenBatchNorm2d):  # type: ignore[misc]  # torchvision is untyped
    """A frozen BatchNorm whose work the convolution before it has done."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the maps as they are."""
        return x


def fold_frozen_resnet(net: nn.Module) -> None:
    """Fold, in place, every frozen BatchNorm of one of torchvision's residual nets.

    Args:
        net: whose convolutions may be of other kinds in places: those stay as they are.
    """
    _fold(net, "conv1", "bn1")
    for block in net.modules():
        if not isinstance(block, BasicBlock | Bottleneck):
            continue
        for number in (1, 2, 3):
            _fold(block, f"conv{number}", f"bn{number}")
        if block.downsample is not None:
            _fold(block.downsample, "0", "1")


def _fold(parent: nn.Module, convolution: str, norm: str) -> None:
    conv, behind = getattr(parent, convolution, None), getattr(parent, norm, None)
    if type(conv) is nn.Conv2d and type(behind) is FrozenBatchNorm2d and conv.bias is None:
        # The same objects, weights and all, under another rule of computing.
        conv.__class__ = FoldedConv2d
        cast("FoldedConv2d", conv).norm = (behind,)
        behind.__class__ = PassedBatchNorm2d
