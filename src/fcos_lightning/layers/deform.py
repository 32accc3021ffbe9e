"""Modulated deformable convolution (DCNv2, arXiv 1811.11168)."""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torchvision.ops import deform_conv2d


class DeformableConv2d(nn.Conv2d):
    """A convolution that looks at learnt places, and at each of them with a learnt weight.

    For each output position and each of the ``k`` places of its kernel, an ordinary convolution of
    the input gives an offset in cells of the input and, after a sigmoid, a weight in (0, 1). Its
    ``3 * k`` channels are, as in torchvision, ``k`` pairs of offsets (y, x), then ``k`` weights.
    It starts at zero: offsets of 0 and weights of 0.5 (section 3.2 of the paper).

    Parameters are ``weight`` and ``bias`` as of ``nn.Conv2d``, ``offset.weight`` and
    ``offset.bias``.

    Args:
        in_channels: of the input.
        out_channels: of the output.
        kernel_size: of one side.
        stride: of the output, in cells of the input.
        padding: on each side, in cells of the input.
        groups: of channels that do not see each other; all share the offsets.
        bias: whether to add one.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, groups=groups, bias=bias
        )
        self._channels = [2 * kernel_size**2, kernel_size**2]
        self.offset = nn.Conv2d(in_channels, sum(self._channels), kernel_size, stride, padding)
        self.reset_offset()

    @classmethod
    def starting_as(cls, conv: nn.Conv2d) -> DeformableConv2d:
        """Return one that computes what ``conv`` does until it learns.

        Weights of 0.5 would halve what the next layers were trained on, so they are made up for.
        """
        made = cls(
            conv.in_channels,
            conv.out_channels,
            conv.kernel_size[0],
            conv.stride[0],
            int(conv.padding[0]),
            conv.groups,
            conv.bias is not None,
        )
        with torch.no_grad():
            made.weight.copy_(2 * conv.weight)
            if made.bias is not None and conv.bias is not None:
                made.bias.copy_(conv.bias)
        return made

    def reset_offset(self) -> None:
        """Look at the kernel's own places, at each with a weight of 0.5."""
        nn.init.zeros_(self.offset.weight)
        if self.offset.bias is not None:
            nn.init.zeros_(self.offset.bias)

    def forward(self, input: Tensor) -> Tensor:
        """Return ``[B, out_channels, H, W]`` for ``[B, in_channels, H, W]``, sizes by stride."""
        # Under autocast, offsets in bfloat16's 8 bits would be off by hundredths of a cell.
        device, dtype = input.device.type, self.weight.dtype
        full = torch.amp.is_autocast_available(device)
        with torch.autocast(device, enabled=False) if full else nullcontext():
            exact = input.to(dtype)
            offsets, weights = self.offset(exact).split(self._channels, 1)
            output: Tensor = deform_conv2d(
                exact,
                offsets,
                self.weight,
                self.bias,
                stride=(self.stride[0], self.stride[1]),
                padding=(int(self.padding[0]), int(self.padding[1])),
                mask=weights.sigmoid(),
            )
        return output.to(input.dtype)
