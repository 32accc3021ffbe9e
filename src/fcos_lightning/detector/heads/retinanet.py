"""RetinaNet's head: two towers, and offsets of anchor boxes (arXiv 1708.02002)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from fcos_lightning.detector.heads.by_level import HeadByLevel
from fcos_lightning.detector.heads.towers import TowerOptions, by_point
from fcos_lightning.detector.parts import Levels
from fcos_lightning.structures import Prediction

#: Beyond this a side would be more than 62.5 times the anchor's (Faster R-CNN's code, and all
#: since).
_LARGEST_LOG = math.log(1000 / 16)


@dataclass(frozen=True, eq=False)
class AnchorPrediction(Prediction):
    """What the head says at every anchor.

    Attributes:
        offsets: ``[B, P, 4]`` (dx, dy, dw, dh): center in sides of the anchor, logarithm of the
            sides (arXiv 1506.01497, section 3.1.2); ``ltrb_px`` says the same in pixels.
    """

    offsets: Tensor = field(kw_only=True)


@dataclass(frozen=True)
class RetinaNetHeadOptions(TowerOptions):
    """The options of ``RetinaNetHead``: those of towers.

    ``norm`` is ``none`` in the paper, ``group`` in torchvision's second version.
    """

    name: ClassVar[str] = "retinanet"

    def build(self, in_channels: int, num_classes: int, levels: Levels) -> RetinaNetHead:
        """Return the head; it predicts a box for each anchor."""
        self.check_anchors(levels)
        return RetinaNetHead(in_channels, num_classes, levels.anchors_wh(), self)


class RetinaNetHead(HeadByLevel):
    """Two towers of 3x3 convolutions; class logits on one, offsets of anchors on the other.

    Args:
        in_channels: of the feature maps.
        num_classes: ``C``.
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
        options: RetinaNetHeadOptions | None = None,
    ) -> None:
        super().__init__(num_classes)
        self.options = options = options or RetinaNetHeadOptions()
        levels, self.per_cell, _ = anchors_wh.shape
        self.register_buffer("anchors_wh", anchors_wh, persistent=False)
        self.anchors_wh: Tensor
        self.cls_tower = options.tower(in_channels, levels)
        self.box_tower = options.tower(in_channels, levels)
        last = self.cls_tower.out_channels
        self.cls_logits = nn.Conv2d(last, self.per_cell * num_classes, 3, padding=1)
        self.box_offsets = nn.Conv2d(last, self.per_cell * 4, 3, padding=1)
        options.start(self, self.cls_logits, self.cls_tower, self.box_tower)

    def at_level(self, feature: Tensor, level: int) -> AnchorPrediction:
        """Return class logits, offsets and distances in pixels of a level's anchors."""
        cls_logits = by_point(self.cls_logits(self.cls_tower(feature, level)), self.per_cell)
        offsets = by_point(self.box_offsets(self.box_tower(feature, level)), self.per_cell).float()
        anchors = self.anchors_wh[level].repeat(feature.shape[-2] * feature.shape[-1], 1)
        return AnchorPrediction(cls_logits, ltrb_of(offsets, anchors), offsets=offsets)


def ltrb_of(offsets: Tensor, anchors_wh: Tensor) -> Tensor:
    """Return the distances from the anchors' centers to the sides of the boxes they became.

    Args:
        offsets: ``[B, P, 4]``, see ``AnchorPrediction``.
        anchors_wh: ``[P, 2]`` pixels.

    Returns:
        ``[B, P, 4]`` pixels; a box may lie beside the center of its anchor.
    """
    moved = offsets[..., :2] * anchors_wh
    half = offsets[..., 2:].clamp(max=_LARGEST_LOG).exp() * anchors_wh / 2
    return torch.cat([half - moved, half + moved], dim=-1)
