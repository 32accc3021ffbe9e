"""The head: towers, scales, logits, distances, quality; the same weights on every level."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fcos_lightning.detector.heads.by_level import HeadByLevel
from fcos_lightning.detector.heads.towers import TowerOptions, by_point
from fcos_lightning.detector.parts import Levels
from fcos_lightning.errors import UserError
from fcos_lightning.structures import Prediction


@dataclass(frozen=True)
class FCOSHeadOptions(TowerOptions):
    """The options of ``Head``: those of towers, and more.

    Here ``fast_start`` also has distances begin at one stride instead of around 0, where half of
    ReLU's outputs learn nothing.

    Args:
        box_convs: of the box tower, where it has another number of them; None: ``num_convs``.
        shared_convs: convolutions before the two towers part (AdelaiDet's real-time models with
            shared towers: 4, and ``num_convs`` 0).
        quality_on: the tower the centerness branch sits on: ``box`` (the improved recipe),
            ``classification`` (the paper's first version), or ``none``: there is no such branch,
            so that neither loss nor score know of it.
        distances: ``relu`` gives strides, made pixels here (improved); ``exp`` gives pixels
            (first version).
        level_scales: a learnable factor for each level's distances (paper, section 3.2).
        deformable: the last convolution of each tower is a modulated deformable one (official and
            AdelaiDet's dcnv2 recipes).

    Raises:
        UserError: if an option is unknown or out of its range, or no convolution is there to be
            deformable.
    """

    name: ClassVar[str] = "fcos"

    norm: Literal["none", "group", "batch"] = "group"
    box_convs: int | None = None
    shared_convs: int = 0
    quality_on: Literal["box", "classification", "none"] = "box"
    distances: Literal["relu", "exp"] = "relu"
    level_scales: bool = True
    deformable: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_at_least(box_convs=0, shared_convs=0)
        for key in ("num_convs", "box_convs"):
            if self.deformable and getattr(self, key) == 0:
                raise UserError(
                    "model.head.deformable=true: it is the last convolution of each tower, and "
                    f"model.head.{key}=0 leaves none"
                )

    def build(self, in_channels: int, num_classes: int, levels: Levels) -> Head:
        """Return the head; it predicts one box for each cell."""
        self.check_one_box(levels)
        return Head(in_channels, num_classes, levels.strides, self)


class Head(HeadByLevel):
    """Two towers of 3x3 convolutions; class logits on one, distances on the other (paper, fig. 2).

    Args:
        in_channels: of the feature maps.
        num_classes: ``C``.
        strides: of the levels in pixels.
        options: all of them; None: those of ``more``.
        **more: single ones, where the others shall be the defaults.

    Raises:
        UserError: if there are no classes.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        strides: Sequence[int],
        options: FCOSHeadOptions | None = None,
        **more: Any,  # noqa: ANN401  # fields of FCOSHeadOptions
    ) -> None:
        super().__init__(num_classes)
        options = options or FCOSHeadOptions(**more)
        self.options = options
        self.strides = tuple(strides)
        self.quality_on, self.distances = options.quality_on, options.distances
        levels, deformable = len(self.strides), options.deformable
        shared = options.tower(in_channels, levels, num_convs=options.shared_convs)
        self.shared_tower = shared
        self.cls_tower = options.tower(shared.out_channels, levels, deformable=deformable)
        self.box_tower = options.tower(
            shared.out_channels, levels, num_convs=options.box_convs, deformable=deformable
        )
        last_cls, last_box = self.cls_tower.out_channels, self.box_tower.out_channels
        self.cls_logits = nn.Conv2d(last_cls, num_classes, 3, padding=1)
        self.box_ltrb = nn.Conv2d(last_box, 4, 3, padding=1)
        if self.quality_on != "none":
            last = last_box if self.quality_on == "box" else last_cls
            self.quality_logits = nn.Conv2d(last, 1, 3, padding=1)
        self.scales = nn.Parameter(
            torch.ones(len(self.strides)), requires_grad=options.level_scales
        )
        options.start(self, self.cls_logits, shared, self.cls_tower, self.box_tower)
        if options.fast_start:
            nn.init.constant_(self.box_ltrb.bias, 1.0 if self.distances == "relu" else 0.0)  # type: ignore[arg-type]

    def at_level(self, feature: Tensor, level: int) -> Prediction:
        """Return class logits, distances in pixels and maybe quality logits of a level."""
        feature = self.shared_tower(feature, level)
        cls_feature = self.cls_tower(feature, level)
        box_feature = self.box_tower(feature, level)
        # Under autocast the convolution's output has bfloat16's 8 bits; scale and stride must
        # not round it once more.
        raw = by_point(self.box_ltrb(box_feature)).float() * self.scales[level]
        ltrb_px = F.relu(raw) * self.strides[level] if self.distances == "relu" else raw.exp()
        cls_logits = by_point(self.cls_logits(cls_feature))
        if self.quality_on == "none":
            return Prediction(cls_logits, ltrb_px)
        quality_feature = box_feature if self.quality_on == "box" else cls_feature
        quality_logits = by_point(self.quality_logits(quality_feature)).squeeze(-1)
        return Prediction(cls_logits, ltrb_px, quality_logits)
