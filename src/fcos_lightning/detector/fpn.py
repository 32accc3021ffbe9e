"""The feature pyramid: C3..C5 -> P3..P7."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from fcos_lightning.detector.hrfpn import HRFPN
from fcos_lightning.detector.parts import Part
from fcos_lightning.errors import UserError


@dataclass(frozen=True)
class FPNOptions(Part):
    """What can be chosen of ``FPN``; the rest is derived.

    Args:
        merge: how the backbone's maps come together: ``add``, see ``FPN``, or ``concatenate``, see
            ``HRFPN``, for which ``p6_from`` and ``relu_before_p7`` mean nothing.
    """

    kind: ClassVar[str] = "fpn"

    channels: int = 256
    levels: tuple[int, ...] = (3, 4, 5, 6, 7)
    p6_from: Literal["p5", "c5", "lateral"] = "p5"
    relu_before_p7: bool = True
    merge: Literal["add", "concatenate"] = "add"
    only: int | None = None
    top_down: bool = True

    @property
    def finest(self) -> int:
        """The finest level that the pyramid leads down to."""
        return self.only if self.only is not None else min(self.levels, default=3)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("channels", self.channels >= 1, "at least 1")
        self.require_at_least(only=0)

    def build(self, in_channels: Sequence[int], in_strides: Sequence[int]) -> FPN | HRFPN:
        """Return the pyramid on a backbone's maps."""
        if self.merge == "concatenate":
            if self.only is not None or not self.top_down:
                raise UserError(
                    "model.fpn.merge=concatenate: its levels are all made of one map; give neither "
                    "model.fpn.only nor model.fpn.top_down=false"
                )
            return HRFPN(in_channels, in_strides, self.channels, self.levels)
        return FPN(
            in_channels,
            in_strides,
            self.channels,
            self.levels,
            self.p6_from,
            self.relu_before_p7,
            self.only,
            self.top_down,
        )


class FPN(nn.Module):
    """Feature pyramid (arXiv 1612.03144) with two coarser levels by strided convolution.

    Level ``k`` has stride ``2**k``. Levels the backbone has get a 1x1 convolution, the coarser
    level added on top, and a 3x3 convolution; P6 is a strided convolution of P5 (official FCOS) or
    of C5 (RetinaNet), P7 of P6 after a ReLU.

    Args:
        in_channels: of the backbone's feature maps, fine to coarse.
        in_strides: of the same.
        channels: of every level.
        levels: which levels to return, in a row.
        p6_from: ``p5``, ``c5``, or ``lateral``, what P5 is made of by its 3x3 convolution,
            whatever level the backbone's coarsest map has.
        relu_before_p7: whether each coarser level after P6 is made of the one before it with a
            ReLU between them.
        only: a level that is returned alone, with what comes down to it from the coarsest of
            ``levels`` that the backbone has: methods of one map; None: all of ``levels``.
        top_down: whether the coarser level is added. If not, the levels are the backbone's own
            maps, each behind its 1x1 convolution and nothing else (SSD, arXiv 1512.02325).

    Raises:
        UserError: if the levels are not in a row, the backbone lacks the stride of one of them
            that is not coarser than all it has, ``p6_from`` is unknown, or ``only`` is no level
            that the others lead to.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        in_strides: Sequence[int],
        channels: int = 256,
        levels: Sequence[int] = (3, 4, 5, 6, 7),
        p6_from: Literal["p5", "c5", "lateral"] = "p5",
        relu_before_p7: bool = True,
        only: int | None = None,
        top_down: bool = True,
    ) -> None:
        super().__init__()
        levels = tuple(levels)
        if not levels or levels != tuple(range(levels[0], levels[0] + len(levels))):
            raise UserError(f"model.fpn.levels={list(levels)}: give levels in a row, as [3, 4, 5]")
        if p6_from not in ("p5", "c5", "lateral"):
            raise UserError(f"model.fpn.p6_from={p6_from}: give one of p5, c5, lateral")
        if only is not None:
            if only > levels[-1] or not top_down:
                raise UserError(
                    f"model.fpn.only={only}: the coarser levels lead down to it; give it no "
                    f"larger than the last of model.fpn.levels={list(levels)}, and "
                    "model.fpn.top_down=true"
                )
            levels = tuple(range(only, levels[-1] + 1))
        at_level = {math.log2(stride): index for index, stride in enumerate(in_strides)}
        coarsest = int(max(at_level))
        # Coarser backbone maps than asked for would only cost time.
        lateral_levels = [level for level in levels if level <= max(coarsest, levels[0])]
        for level in lateral_levels:
            if level not in at_level:
                asked = f"levels={list(levels)}" if only is None else f"only={only}"
                raise UserError(
                    f"model.fpn.{asked}: the backbone's strides are {list(in_strides)}, none is "
                    f"{2**level}"
                )
        self.in_indices = tuple(at_level[level] for level in lateral_levels)
        self.number_of_inputs = len(in_channels)
        self.levels = levels if only is None else (only,)
        self.strides = tuple(2**level for level in self.levels)
        self.channels = channels
        self.p6_from = p6_from
        self.top_down = top_down
        self.relu_before_p7 = relu_before_p7
        self.lateral = nn.ModuleList(
            nn.Conv2d(in_channels[i], channels, 1) for i in self.in_indices
        )
        outputs = (len(self.in_indices) if only is None else 1) if top_down else 0
        self.output = nn.ModuleList(
            nn.Conv2d(channels, channels, 3, padding=1) for _ in range(outputs)
        )
        number_of_extra = max(self.levels[-1] - coarsest, 0)
        first_in = in_channels[-1] if p6_from == "c5" else channels
        self.extra = nn.ModuleList(
            nn.Conv2d(channels if index else first_in, channels, 3, stride=2, padding=1)
            for index in range(number_of_extra)
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight, a=1)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]  # these all have a bias

    @property
    def last_index(self) -> int:
        """Position of the coarsest of the backbone's maps that is read."""
        if self.extra and self.p6_from == "c5":
            return self.number_of_inputs - 1
        return max(self.in_indices)

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """Return a map ``[B, channels, H / stride, W / stride]`` for each level, fine to coarse."""
        laterals = [
            lateral(features[index])
            for lateral, index in zip(self.lateral, self.in_indices, strict=True)
        ]
        for fine in range(len(laterals) - 2, -1, -1) if self.top_down else ():
            size = laterals[fine].shape[-2:]
            laterals[fine] = laterals[fine] + F.interpolate(
                laterals[fine + 1], size=size, mode="nearest"
            )
        maps = list(laterals)
        if self.top_down:  # of a single level, only that one has an output
            finest = laterals[: len(self.output)]
            maps = [output(lateral) for output, lateral in zip(self.output, finest, strict=True)]
        last = {"p5": maps[-1], "c5": features[-1], "lateral": laterals[-1]}[self.p6_from]
        for index, convolution in enumerate(self.extra):
            last = convolution(F.relu(last) if index and self.relu_before_p7 else last)
            maps.append(last)
        return maps
