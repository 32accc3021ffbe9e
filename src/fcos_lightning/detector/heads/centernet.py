"""CenterNet's head: where centers are, where in their cells, and how large the boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from fcos_lightning.detector.heads.by_level import HeadByLevel
from fcos_lightning.detector.heads.towers import TowerOptions, by_point
from fcos_lightning.detector.parts import Levels
from fcos_lightning.structures import Prediction


@dataclass(frozen=True, eq=False)
class CenterPrediction(Prediction):
    """What the head says at every point.

    Attributes:
        offsets: ``[B, P, 2]`` (x, y) of the center, from the point, in strides.
        sides: ``[B, P, 2]`` width and height of the box in strides; ``ltrb_px`` says the same as
            both in pixels.
    """

    offsets: Tensor = field(kw_only=True)
    sides: Tensor = field(kw_only=True)


@dataclass(frozen=True)
class CenterNetHeadOptions(TowerOptions):
    """The options of ``CenterNetHead``: those of its three towers, with other defaults."""

    name: ClassVar[str] = "centernet"

    num_convs: int = 1
    prior: float = 0.1

    def build(self, in_channels: int, num_classes: int, levels: Levels) -> CenterNetHead:
        """Return the head; it predicts one box for each cell."""
        self.check_one_box(levels)
        return CenterNetHead(in_channels, num_classes, levels.strides, self)


class CenterNetHead(HeadByLevel):
    """Three towers, a 1x1 convolution on each (arXiv 1904.07850, appendix).

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
        options: CenterNetHeadOptions | None = None,
    ) -> None:
        super().__init__(num_classes)
        self.options = options = options or CenterNetHeadOptions()
        self.strides = tuple(strides)
        levels = len(self.strides)
        self.cls_tower = options.tower(in_channels, levels)
        self.offset_tower = options.tower(in_channels, levels)
        self.side_tower = options.tower(in_channels, levels)
        last = self.cls_tower.out_channels
        self.cls_logits = nn.Conv2d(last, num_classes, 1)
        self.box_offsets = nn.Conv2d(last, 2, 1)
        self.box_sides = nn.Conv2d(last, 2, 1)
        options.start(self, self.cls_logits, self.cls_tower, self.offset_tower, self.side_tower)
        # A stride, so that boxes have an area from the start.
        nn.init.ones_(self.box_sides.bias)  # type: ignore[arg-type]

    def at_level(self, feature: Tensor, level: int) -> CenterPrediction:
        """Return class logits, offsets, sides, and distances in pixels of a level."""
        cls_logits = by_point(self.cls_logits(self.cls_tower(feature, level)))
        offsets = by_point(self.box_offsets(self.offset_tower(feature, level))).float()
        sides = by_point(self.box_sides(self.side_tower(feature, level))).float()
        ltrb = torch.cat([sides / 2 - offsets, sides / 2 + offsets], dim=-1)
        ltrb_px = ltrb * self.strides[level]
        return CenterPrediction(cls_logits, ltrb_px, offsets=offsets, sides=sides)
