"""A head that predicts a distribution for each distance (arXiv 2006.04388, section 3.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from fcos_lightning.detector.heads.by_level import HeadByLevel
from fcos_lightning.detector.heads.towers import TowerOptions, by_point
from fcos_lightning.detector.parts import Levels
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
class DistributionHeadOptions(TowerOptions):
    """The options of ``DistributionHead``: those of towers, and more.

    Args:
        reach: the largest distance in strides that a point can tell; boxes that stretch farther
            are for coarser levels.
        level_scales: a learnable factor for each level's logits (official code).

    Raises:
        UserError: if an option is unknown, or out of its range.
    """

    name: ClassVar[str] = "distribution"

    norm: Literal["none", "group", "batch"] = "group"
    reach: int = 16
    level_scales: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_at_least(reach=1)

    def build(self, in_channels: int, num_classes: int, levels: Levels) -> DistributionHead:
        """Return the head; it predicts one box for each cell."""
        self.check_one_box(levels)
        return DistributionHead(in_channels, num_classes, levels.strides, self)


class DistributionHead(HeadByLevel):
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
        super().__init__(num_classes)
        self.options = options = options or DistributionHeadOptions()
        self.strides = tuple(strides)
        self.cls_tower = options.tower(in_channels, len(self.strides))
        self.box_tower = options.tower(in_channels, len(self.strides))
        last = self.cls_tower.out_channels
        self.cls_logits = nn.Conv2d(last, num_classes, 3, padding=1)
        self.side_logits = nn.Conv2d(last, 4 * (options.reach + 1), 3, padding=1)
        self.scales = nn.Parameter(
            torch.ones(len(self.strides)), requires_grad=options.level_scales
        )
        self.register_buffer("steps", torch.arange(options.reach + 1.0), persistent=False)
        self.steps: Tensor
        options.start(self, self.cls_logits, self.cls_tower, self.box_tower)

    def at_level(self, feature: Tensor, level: int) -> DistributionPrediction:
        """Return class logits, logits of distances and distances in pixels of a level."""
        cls_logits = by_point(self.cls_logits(self.cls_tower(feature, level)))
        # As FCOS's distances: nothing is rounded to bfloat16 after the convolution.
        raw = by_point(self.side_logits(self.box_tower(feature, level))).float()
        side_logits = (raw * self.scales[level]).reshape(*raw.shape[:2], 4, -1)
        strides = (side_logits.softmax(dim=-1) * self.steps).sum(dim=-1)
        ltrb_px = strides * self.strides[level]
        return DistributionPrediction(cls_logits, ltrb_px, side_logits=side_logits)
