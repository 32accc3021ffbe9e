"""DenseBox's head: two towers, and distances to the sides in pixels (arXiv 1509.04874)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from fcos_lightning.detector.heads.by_level import HeadByLevel
from fcos_lightning.detector.heads.towers import TowerOptions, by_point
from fcos_lightning.detector.parts import Levels
from fcos_lightning.structures import Prediction


@dataclass(frozen=True)
class DenseBoxHeadOptions(TowerOptions):
    """The options of ``DenseBoxHead``: those of towers, with other defaults, and one more.

    Args:
        unit_px: what the head takes for 1, in pixels; distances begin at a half of it. The paper's
            objects are 50 pixels high.

    Raises:
        UserError: if an option is unknown, or out of its range.
    """

    name: ClassVar[str] = "densebox"

    num_convs: int = 1
    prior: float = 0.1
    unit_px: float = 50.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("unit_px", self.unit_px > 0, "a number above 0")

    def build(self, in_channels: int, num_classes: int, levels: Levels) -> DenseBoxHead:
        """Return the head; it predicts one box for each cell."""
        self.check_one_box(levels)
        return DenseBoxHead(in_channels, num_classes, levels.strides, self)


class DenseBoxHead(HeadByLevel):
    """Two towers of 3x3 convolutions, a 1x1 convolution on each.

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
        options: DenseBoxHeadOptions | None = None,
    ) -> None:
        super().__init__(num_classes)
        self.options = options = options or DenseBoxHeadOptions()
        self.cls_tower = options.tower(in_channels, len(strides))
        self.box_tower = options.tower(in_channels, len(strides))
        last = self.cls_tower.out_channels
        self.cls_logits = nn.Conv2d(last, num_classes, 1)
        self.box_ltrb = nn.Conv2d(last, 4, 1)
        options.start(self, self.cls_logits, self.cls_tower, self.box_tower)
        nn.init.constant_(self.box_ltrb.bias, 0.5)  # type: ignore[arg-type]  # both have one

    def at_level(self, feature: Tensor, level: int) -> Prediction:
        """Return class logits and distances in pixels of a level."""
        cls_logits = by_point(self.cls_logits(self.cls_tower(feature, level)))
        raw = by_point(self.box_ltrb(self.box_tower(feature, level))).float()
        return Prediction(cls_logits, raw * self.options.unit_px)
