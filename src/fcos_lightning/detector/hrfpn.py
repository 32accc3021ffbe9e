"""HRNet's pyramid: all maps together, and the levels pooled from that."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fcos_lightning.errors import UserError


class HRFPN(nn.Module):
    """The pyramid HRNetV2p (arXiv 1908.07919, section 3.3), as mmdetection has it.

    The backbone's maps are brought to the size of the finest, put side by side and merged by a 1x1
    convolution. Level ``k`` is the average of that over squares, and a 3x3 convolution.

    Args:
        in_channels: of the backbone's feature maps, fine to coarse.
        in_strides: of the same.
        channels: of every level.
        levels: which levels to return, in a row; the first has the stride of the finest map, or
            twice that, by the 3x3 convolutions.

    Attributes:
        pooled_from: stride of the map that the levels are averages of. Cells that are not full
            are left out, so that a level may have one less than its share of the image.

    Raises:
        UserError: if the levels are not in a row, or begin elsewhere.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        in_strides: Sequence[int],
        channels: int = 256,
        levels: Sequence[int] = (3, 4, 5, 6, 7),
    ) -> None:
        super().__init__()
        levels = tuple(levels)
        finest = in_strides[0]
        in_a_row = levels and levels == tuple(range(levels[0], levels[0] + len(levels)))
        if not in_a_row or 2 ** levels[0] not in (finest, 2 * finest):
            raise UserError(
                f"model.fpn.levels={list(levels)}: give levels in a row, of which the first has "
                f"stride {finest} or {2 * finest}, as the backbone's finest map has {finest}"
            )
        self.levels = levels
        self.strides = tuple(2**level for level in levels)
        self.channels = channels
        self.pooled_from = finest
        step = self.strides[0] // finest
        self.merge = nn.Conv2d(sum(in_channels), channels, 1)
        self.output = nn.ModuleList(
            nn.Conv2d(channels, channels, 3, stride=step, padding=1) for _ in levels
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight, a=1)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]  # these all have a bias

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """Return a map ``[B, channels, h, w]`` for each level, fine to coarse."""
        size = features[0].shape[-2:]
        same = [F.interpolate(one, size=size, mode="bilinear") for one in features[1:]]
        merged = self.merge(torch.cat([features[0], *same], dim=1))
        maps = []
        for index, output in enumerate(self.output):
            # A map smaller than a square is one.
            square = [min(2**index, int(side)) for side in size]
            maps.append(output(F.avg_pool2d(merged, square, square) if index else merged))
        return maps
