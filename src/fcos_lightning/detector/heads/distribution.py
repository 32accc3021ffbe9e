"""A head that predicts a distribution for each distance (arXiv 2006.04388, section 3.2)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from fcos_lightning.detector.heads.towers import Tower, by_point
from fcos_lightning.detector.parts import HeadOptions, Levels
from fcos_lightning.errors import UserError
from fcos_lightning.layers.recompute import recomputed
from fcos_lightning.structures import Prediction


@dataclass(frozen=True, eq=False)
class DistributionPrediction(Prediction):
    """What the head says at every point.

    Attributes:
        side_logits: ``[B, P, 4, N]`` float32, of each distance being 0, 1, ... N - 1 strides;
            ``ltrb_px`` is the expectation in pixels.
    """

    side_logits: Tensor = field(kw_only=True)


@dataclass(frozen=True)
class DistributionHeadOptions(HeadOptions):
    """The options of ``DistributionHead``.

    Args:
        reach: the largest distance in strides that a point can tell; boxes that stretch farther
            are for coarser levels.
        num_convs: convolutions of each tower.
        channels: of the towers; None: as the feature maps.
        norm: of the towers: ``group``, ``batch`` (one for each level) or ``none``.
        tower_bias: whether the towers' convolutions add a bias.
        level_scales: a learnable factor for each level's logits (official code).
        prior: probability that each class starts with.
        fast_start: He initialisation of the towers, for short runs from scratch.

    Raises:
        UserError: if an option is unknown, or out of its range.
    """

    name: ClassVar[str] = "distribution"

    reach: int = 16
    num_convs: int = 4
    channels: int | None = None
    norm: Literal["group", "batch", "none"] = "group"
    tower_bias: bool = True
    level_scales: bool = True
    prior: float = 0.01
    fast_start: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.prior < 1:
            raise UserError(f"model.head.prior={self.prior}: give a number between 0 and 1")
        for key, least in (("reach", 1), ("num_convs", 0), ("channels", 1)):
            if (value := getattr(self, key)) is not None and value < least:
                raise UserError(f"model.head.{key}={value}: give {least} or more")

    def build(self, in_channels: int, num_classes: int, levels: Levels) -> DistributionHead:
        """Return the head; it predicts one box for each cell."""
        if levels.per_cell != 1:
            raise UserError(
                "model.grid.anchor_scales: the head distribution predicts points, no anchors"
            )
        return DistributionHead(in_channels, num_classes, levels.strides, self)


class DistributionHead(nn.Module):
    """Two towers of 3x3 convolutions; class logits on one, logits of distances on the other.

    Args:
        in_channels: of the feature maps.
        num_classes: ``C``.
        strides: of the levels in pixels.
        options: see there.

    Raises:
        UserError: if there are no classes.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        strides: Sequence[int],
        options: DistributionHeadOptions | None = None,
    ) -> None:
        super().__init__()
        if num_classes < 1:
            raise UserError(f"a detector needs at least one class, not {num_classes}")
        self.options = options = options or DistributionHeadOptions()
        self.num_classes = num_classes
        self.strides = tuple(strides)
        self.recompute = False  # see recompute_activations
        width, count = options.channels or in_channels, options.num_convs
        tower = (in_channels, width, count, options.norm, len(self.strides), options.tower_bias)
        self.cls_tower, self.box_tower = Tower(*tower), Tower(*tower)
        last = width if count else in_channels
        self.cls_logits = nn.Conv2d(last, num_classes, 3, padding=1)
        self.side_logits = nn.Conv2d(last, 4 * (options.reach + 1), 3, padding=1)
        self.scales = nn.Parameter(
            torch.ones(len(self.strides)), requires_grad=options.level_scales
        )
        self.register_buffer("steps", torch.arange(options.reach + 1.0), persistent=False)
        self.steps: Tensor
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=0.01)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        prior = options.prior
        nn.init.constant_(self.cls_logits.bias, -math.log((1 - prior) / prior))  # type: ignore[arg-type]
        for module in (*self.cls_tower, *self.box_tower) if options.fast_start else ():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, maps: Sequence[Tensor]) -> DistributionPrediction:
        """Return the prediction at the points of all levels, for maps ``[B, channels, H, W]``."""
        look = recomputed(self._at_level) if self.recompute else self._at_level
        levels = [look(feature, level) for level, feature in enumerate(maps)]
        cls_logits, side_logits, ltrb_px = zip(*levels, strict=True)
        return DistributionPrediction(
            cls_logits=torch.cat(cls_logits, dim=1),
            ltrb_px=torch.cat(ltrb_px, dim=1),
            side_logits=torch.cat(side_logits, dim=1),
        )

    def _at_level(self, feature: Tensor, level: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return class logits, logits of distances and distances in pixels of a level."""
        cls_logits = by_point(self.cls_logits(self.cls_tower(feature, level)))
        # As FCOS's distances: nothing is rounded to bfloat16 after the convolution.
        raw = by_point(self.side_logits(self.box_tower(feature, level))).float()
        side_logits = (raw * self.scales[level]).reshape(*raw.shape[:2], 4, -1)
        strides = (side_logits.softmax(dim=-1) * self.steps).sum(dim=-1)
        return cls_logits, side_logits, strides * self.strides[level]
