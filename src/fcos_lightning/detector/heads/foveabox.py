"""FoveaBox's head: two towers, and the logarithms of distances (arXiv 1904.03797)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor, nn

from fcos_lightning.detector.heads.by_level import HeadByLevel
from fcos_lightning.detector.heads.towers import TowerOptions, by_point
from fcos_lightning.detector.parts import Levels
from fcos_lightning.structures import Prediction

#: Distances are seen in so many strides of their level, the root of its basic area (eq. 1).
_UNIT = 4.0
#: Farther than so many strides no box reaches; an untrained head must not overflow.
_LARGEST = 1e4


@dataclass(frozen=True, eq=False)
class LogPrediction(Prediction):
    """What the head says at every point.

    Attributes:
        log_ltrb: ``[B, P, 4]`` natural logarithms of the distances in pixels; ``ltrb_px`` says the
            same in pixels.
    """

    log_ltrb: Tensor = field(kw_only=True)


@dataclass(frozen=True)
class FoveaBoxHeadOptions(TowerOptions):
    """The options of ``FoveaBoxHead``: those of towers."""

    name: ClassVar[str] = "foveabox"

    def build(self, in_channels: int, num_classes: int, levels: Levels) -> FoveaBoxHead:
        """Return the head; it predicts one box for each cell."""
        self.check_one_box(levels)
        return FoveaBoxHead(in_channels, num_classes, levels.strides, self)


class FoveaBoxHead(HeadByLevel):
    """Two towers of 3x3 convolutions; class logits on one, distances on the other.

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
        options: FoveaBoxHeadOptions | None = None,
    ) -> None:
        super().__init__(num_classes)
        self.options = options = options or FoveaBoxHeadOptions()
        self.strides = tuple(strides)
        self.cls_tower = options.tower(in_channels, len(self.strides))
        self.box_tower = options.tower(in_channels, len(self.strides))
        last = self.cls_tower.out_channels
        self.cls_logits = nn.Conv2d(last, num_classes, 3, padding=1)
        self.box_ltrb = nn.Conv2d(last, 4, 3, padding=1)
        options.start(self, self.cls_logits, self.cls_tower, self.box_tower)

    def at_level(self, feature: Tensor, level: int) -> LogPrediction:
        """Return class logits, logarithms of distances, and distances in pixels of a level."""
        cls_logits = by_point(self.cls_logits(self.cls_tower(feature, level)))
        raw = by_point(self.box_ltrb(self.box_tower(feature, level))).float()
        stride = self.strides[level]
        log_ltrb = raw + math.log(_UNIT * stride)
        ltrb_px = log_ltrb.clamp(max=math.log(_LARGEST * stride)).exp()
        return LogPrediction(cls_logits, ltrb_px, log_ltrb=log_ltrb)
