"""DenseBox's head: two towers, and distances to the sides in pixels (arXiv 1509.04874)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor, nn

from fcos_lightning.detector.heads.by_level import HeadByLevel
from fcos_lightning.detector.heads.towers import Tower, by_point, logit, start_alike
from fcos_lightning.detector.parts import HeadOptions, Levels
from fcos_lightning.structures import Prediction


@dataclass(frozen=True)
class DenseBoxHeadOptions(HeadOptions):
    """The options of ``DenseBoxHead``.

    Args:
        num_convs: 3x3 convolutions of each tower.
        channels: of the towers; None: as the feature maps.
        norm: of the towers: ``none`` (the paper), ``group`` or ``batch``.
        tower_bias: whether the towers' convolutions add a bias.
        unit_px: what the head takes for 1, in pixels; distances begin at a half of it. The paper's
            objects are 50 pixels high.
        prior: probability that each class starts with.
        fast_start: He initialisation of the towers, for short runs from scratch.

    Raises:
        UserError: if an option is unknown, ``prior`` no probability or ``unit_px`` no length.
    """

    name: ClassVar[str] = "densebox"

    num_convs: int = 1
    channels: int | None = None
    norm: Literal["none", "group", "batch"] = "none"
    tower_bias: bool = True
    unit_px: float = 50.0
    prior: float = 0.1
    fast_start: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("prior", 0 < self.prior < 1, "a number between 0 and 1")
        self.require("unit_px", self.unit_px > 0, "a number above 0")
        self.require_at_least(num_convs=0, channels=1)

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
        width, count = options.channels or in_channels, options.num_convs
        tower = (in_channels, width, count, options.norm, len(strides), options.tower_bias)
        self.cls_tower, self.box_tower = Tower(*tower), Tower(*tower)
        last = width if count else in_channels
        self.cls_logits = nn.Conv2d(last, num_classes, 1)
        self.box_ltrb = nn.Conv2d(last, 4, 1)
        start_alike(self, (self.cls_tower, self.box_tower), options.fast_start)
        nn.init.constant_(self.cls_logits.bias, logit(options.prior))  # type: ignore[arg-type]
        nn.init.constant_(self.box_ltrb.bias, 0.5)  # type: ignore[arg-type]  # both have one

    def at_level(self, feature: Tensor, level: int) -> Prediction:
        """Return class logits and distances in pixels of a level."""
        cls_logits = by_point(self.cls_logits(self.cls_tower(feature, level)))
        raw = by_point(self.box_ltrb(self.box_tower(feature, level))).float()
        return Prediction(cls_logits, raw * self.options.unit_px)
