"""What heads are built of: towers of convolutions, and maps turned into rows of points."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from fcos_lightning.detector.parts import HeadOptions
from fcos_lightning.layers.deform import DeformableConv2d


@dataclass(frozen=True)
class TowerOptions(HeadOptions):
    """What heads have in common that see classes and boxes by towers of 3x3 convolutions.

    Args:
        num_convs: convolutions of each tower.
        channels: of the towers; None: as the feature maps.
        norm: of the towers: ``none``, ``group`` (32 groups, fewer in narrow towers), or ``batch``,
            one for each level, as statistics differ between levels while the convolutions are
            shared.
        tower_bias: whether the towers' convolutions add a bias.
        prior: probability that each class starts with (arXiv 1708.02002, section 3.3).
        fast_start: He initialisation of the towers (arXiv 1502.01852), for short runs from scratch.

    Raises:
        UserError: if an option is unknown, or out of its range.
    """

    num_convs: int = 4
    channels: int | None = None
    norm: Literal["none", "group", "batch"] = "none"
    tower_bias: bool = True
    prior: float = 0.01
    fast_start: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("prior", 0 < self.prior < 1, "a number between 0 and 1")
        self.require_at_least(num_convs=0, channels=1)

    def tower(
        self,
        in_channels: int,
        levels: int,
        *,
        num_convs: int | None = None,
        deformable: bool = False,
    ) -> Tower:
        """Return a tower.

        Args:
            in_channels: of what it is given.
            levels: number of levels.
            num_convs: convolutions, where it has another number of them.
            deformable: whether the last convolution is a deformable one.
        """
        width = self.channels or in_channels
        count = self.num_convs if num_convs is None else num_convs
        return Tower(in_channels, width, count, self.norm, levels, self.tower_bias, deformable)

    def start(self, head: nn.Module, classes: nn.Conv2d, *towers: Tower) -> None:
        """Initialise a head: all alike, and each class with its prior.

        Args:
            head: whose convolutions these are.
            classes: the one that gives class logits.
            towers: of the head.
        """
        start_alike(head, towers, self.fast_start)
        nn.init.constant_(classes.bias, logit(self.prior))  # type: ignore[arg-type]  # it has one


class Tower(nn.ModuleList):
    """Convolutions, each with its normalisation and a ReLU, one after the other.

    Args:
        in_channels: of the feature maps.
        width: channels of every convolution.
        num_convs: how many; with 0 the tower returns what it is given.
        norm: ``group`` (32 groups, fewer in narrow towers), ``batch`` (one for each level), or
            ``none``.
        levels: number of levels.
        bias: of the convolutions.
        deformable: whether the last convolution is a deformable one.
    """

    def __init__(
        self,
        in_channels: int,
        width: int,
        num_convs: int,
        norm: str,
        levels: int,
        bias: bool,
        deformable: bool = False,
    ) -> None:
        super().__init__()
        #: Of what it returns.
        self.out_channels = width if num_convs else in_channels
        for index in range(num_convs):
            learns_places = deformable and index == num_convs - 1
            kind = DeformableConv2d if learns_places else nn.Conv2d
            self.append(kind(width if index else in_channels, width, 3, padding=1, bias=bias))
            if norm == "group":
                self.append(nn.GroupNorm(_groups(width), width))
            elif norm == "batch":
                self.append(nn.ModuleList(nn.BatchNorm2d(width) for _ in range(levels)))
            self.append(nn.ReLU(inplace=True))

    def forward(self, feature: Tensor, level: int) -> Tensor:
        """Return ``[B, width, H, W]`` for the map ``[B, in_channels, H, W]`` of a level."""
        for module in self:
            of_level = module[level] if isinstance(module, nn.ModuleList) else module
            feature = of_level(feature)
        return feature


def by_point(level_map: Tensor, per_cell: int = 1) -> Tensor:
    """``[B, per_cell * C, H, W]`` -> ``[B, H * W * per_cell, C]``."""
    rows = level_map.flatten(2).transpose(1, 2)
    batch, cells, _ = rows.shape
    return rows if per_cell == 1 else rows.reshape(batch, cells * per_cell, -1)


def _groups(width: int) -> int:
    """Number of groups: 32 where that divides the width, and no group of a single channel.

    Such a group has one number on a 1x1 map, as P7 of a small image is: it would be normalised to
    zero, and torch refuses it.
    """
    groups = math.gcd(32, width)
    return max(groups // 2, 1) if groups == width else groups


def start_alike(head: nn.Module, towers: Iterable[Tower], fast: bool) -> None:
    """Draw all convolutions of a head from a normal distribution of 0.01, biases 0.

    Args:
        head: whose convolutions these are.
        towers: its towers.
        fast: He initialisation of the towers (arXiv 1502.01852), for short runs from scratch.
    """
    for module in head.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, std=0.01)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for module in head.modules():
        if isinstance(module, DeformableConv2d):
            module.reset_offset()
    for tower in towers if fast else ():
        for module in tower:
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)


def logit(probability: float) -> float:
    """Return what a sigmoid makes a probability of, as the bias of a class to start with."""
    return -math.log((1 - probability) / probability)
