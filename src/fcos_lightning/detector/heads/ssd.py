"""SSD's head: on each level convolutions of its own, class logits and offsets of anchor boxes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from fcos_lightning.detector.heads.by_level import HeadByLevel
from fcos_lightning.detector.heads.retinanet import AnchorPrediction, ltrb_of
from fcos_lightning.detector.heads.towers import Tower, by_point, start_alike
from fcos_lightning.detector.parts import HeadOptions, Levels

#: What the head gives are offsets in these units, so that all four vary alike (the original code's
#: variances, torchvision's weights of 10 and 5).
OFFSET_UNITS = (0.1, 0.1, 0.2, 0.2)


@dataclass(frozen=True)
class SSDHeadOptions(HeadOptions):
    """The options of ``SSDHead``.

    Args:
        num_convs: convolutions of a tower before the two that predict; the paper has none.
        channels: of the tower; None: as the feature maps.
        norm: of the tower: ``none``, ``group`` or ``batch``.
        tower_bias: whether the tower's convolutions add a bias.
        fast_start: He initialisation of the tower, for short runs from scratch.

    Raises:
        UserError: if an option is unknown.
    """

    name: ClassVar[str] = "ssd"

    num_convs: int = 0
    channels: int | None = None
    norm: Literal["none", "group", "batch"] = "none"
    tower_bias: bool = True
    fast_start: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_at_least(num_convs=0, channels=1)

    def build(self, in_channels: int, num_classes: int, levels: Levels) -> SSDHead:
        """Return the head; it predicts a box for each anchor."""
        self.check_anchors(levels)
        return SSDHead(in_channels, num_classes, levels.anchors_wh(), self)


class SSDHead(HeadByLevel):
    """For each level a 3x3 convolution for the classes and one for the offsets (arXiv 1512.02325).

    Class logits are relative to the background, whose logit is 0: a softmax does not change where
    all of its inputs move together, so that nothing is lost (see the decoder ``ssd``).

    Args:
        in_channels: of the feature maps.
        num_classes: ``C``, without the background.
        anchors_wh: ``[levels, A, 2]`` width and height of a cell's anchors in pixels.
        options: see there.

    Raises:
        UserError: if there are no classes.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        anchors_wh: Tensor,
        options: SSDHeadOptions | None = None,
    ) -> None:
        super().__init__(num_classes)
        self.options = options = options or SSDHeadOptions()
        levels, self.per_cell, _ = anchors_wh.shape
        self.register_buffer("anchors_wh", anchors_wh, persistent=False)
        self.register_buffer("units", torch.tensor(OFFSET_UNITS), persistent=False)
        self.anchors_wh: Tensor
        self.units: Tensor
        width, count = options.channels or in_channels, options.num_convs
        last = width if count else in_channels
        self.towers = nn.ModuleList(
            Tower(in_channels, width, count, options.norm, 1, options.tower_bias)
            for _ in range(levels)
        )
        self.cls_logits = nn.ModuleList(
            nn.Conv2d(last, self.per_cell * num_classes, 3, padding=1) for _ in range(levels)
        )
        self.box_offsets = nn.ModuleList(
            nn.Conv2d(last, self.per_cell * 4, 3, padding=1) for _ in range(levels)
        )
        start_alike(self, self.towers, options.fast_start)  # type: ignore[arg-type]  # they are
        for module in (*self.cls_logits, *self.box_offsets):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)

    def at_level(self, feature: Tensor, level: int) -> AnchorPrediction:
        """Return class logits, offsets and distances in pixels of a level's anchors."""
        feature = self.towers[level](feature, 0)
        cls_logits = by_point(self.cls_logits[level](feature), self.per_cell)
        raw = by_point(self.box_offsets[level](feature), self.per_cell).float()
        offsets = raw * self.units
        anchors = self.anchors_wh[level].repeat(feature.shape[-2] * feature.shape[-1], 1)
        return AnchorPrediction(cls_logits, ltrb_of(offsets, anchors), offsets=offsets)
