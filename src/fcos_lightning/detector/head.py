"""The head: towers, scales, logits, distances, quality; the same weights on every level."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fcos_lightning.errors import UserError
from fcos_lightning.structures import Prediction


class Head(nn.Module):
    """Two towers of 3x3 convolutions; class logits on one, distances on the other (paper, fig. 2).

    Args:
        in_channels: of the feature maps.
        num_classes: ``C``.
        strides: of the levels in pixels.
        num_convs: convolutions of each tower.
        channels: of the towers; None: as the feature maps.
        norm: of the towers: ``group`` (32 groups, fewer in narrow towers), ``batch``, ``none``.
        quality_on: the tower the centerness branch sits on: ``box`` (the improved recipe),
            ``classification`` (the paper's first version), or ``none``: there is no such branch
            and its logits are 0. ``build_fcos`` then leaves quality out of loss and score.
        distances: ``relu`` gives strides, made pixels here (improved); ``exp`` gives pixels
            (first version).
        level_scales: a learnable factor for each level's distances (paper, section 3.2).
        fast_start: He initialisation of the towers, and distances that begin at one stride instead
            of around 0, where half of ReLU's outputs learn nothing. For short runs from scratch;
            the official code starts all from a normal distribution of 0.01.
        prior: probability that each class starts with (arXiv 1708.02002, section 3.3).

    Raises:
        UserError: if there are no classes, an option is unknown or ``prior`` no probability.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        strides: Sequence[int],
        num_convs: int = 4,
        channels: int | None = None,
        norm: Literal["group", "batch", "none"] = "group",
        quality_on: Literal["box", "classification", "none"] = "box",
        distances: Literal["relu", "exp"] = "relu",
        level_scales: bool = True,
        prior: float = 0.01,
        fast_start: bool = False,
    ) -> None:
        super().__init__()
        if num_classes < 1:
            raise UserError(f"a detector needs at least one class, not {num_classes}")
        for key, value, known in (
            ("norm", norm, ("group", "batch", "none")),
            ("quality_on", quality_on, ("box", "classification", "none")),
            ("distances", distances, ("relu", "exp")),
        ):
            if value not in known:
                raise UserError(f"model.head.{key}={value}: give one of {', '.join(known)}")
        if not 0 < prior < 1:
            raise UserError(f"model.head.prior={prior}: give a number between 0 and 1")
        width = channels or in_channels
        self.num_classes = num_classes
        self.strides = tuple(strides)
        self.quality_on = quality_on
        self.distances = distances
        self.cls_tower = _tower(in_channels, width, num_convs, norm)
        self.box_tower = _tower(in_channels, width, num_convs, norm)
        last = width if num_convs else in_channels
        self.cls_logits = nn.Conv2d(last, num_classes, 3, padding=1)
        self.box_ltrb = nn.Conv2d(last, 4, 3, padding=1)
        if quality_on != "none":
            self.quality_logits = nn.Conv2d(last, 1, 3, padding=1)
        self.scales = nn.Parameter(torch.ones(len(self.strides)), requires_grad=level_scales)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=0.01)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.constant_(self.cls_logits.bias, -math.log((1 - prior) / prior))  # type: ignore[arg-type]
        if fast_start:
            for module in (*self.cls_tower, *self.box_tower):
                if isinstance(module, nn.Conv2d):
                    nn.init.kaiming_normal_(module.weight)
            nn.init.constant_(self.box_ltrb.bias, 1.0 if distances == "relu" else 0.0)  # type: ignore[arg-type]

    def forward(self, maps: Sequence[Tensor]) -> Prediction:
        """Return the prediction at the points of all levels, for maps ``[B, channels, H, W]``."""
        cls_logits, ltrb_px, quality_logits = [], [], []
        for level, (feature, stride) in enumerate(zip(maps, self.strides, strict=True)):
            cls_feature, box_feature = self.cls_tower(feature), self.box_tower(feature)
            cls_logits.append(_by_point(self.cls_logits(cls_feature)))
            # Under autocast the convolution's output has bfloat16's 8 bits; scale and stride must
            # not round it once more.
            raw = _by_point(self.box_ltrb(box_feature)).float() * self.scales[level]
            ltrb_px.append(F.relu(raw) * stride if self.distances == "relu" else raw.exp())
            if self.quality_on == "none":
                quality_logits.append(torch.zeros_like(ltrb_px[-1][..., 0]))
            else:
                quality_feature = box_feature if self.quality_on == "box" else cls_feature
                quality_logits.append(_by_point(self.quality_logits(quality_feature)).squeeze(-1))
        return Prediction(
            cls_logits=torch.cat(cls_logits, dim=1),
            ltrb_px=torch.cat(ltrb_px, dim=1),
            quality_logits=torch.cat(quality_logits, dim=1),
        )


def _by_point(level_map: Tensor) -> Tensor:
    """``[B, C, H, W]`` -> ``[B, H * W, C]``."""
    return level_map.flatten(2).transpose(1, 2)


def _groups(width: int) -> int:
    """Number of groups: 32 where that divides the width, and no group of a single channel.

    Such a group has one number on a 1x1 map, as P7 of a small image is: it would be normalised to
    zero, and torch refuses it.
    """
    groups = math.gcd(32, width)
    return max(groups // 2, 1) if groups == width else groups


def _tower(in_channels: int, width: int, num_convs: int, norm: str) -> nn.Sequential:
    layers: list[nn.Module] = []
    for index in range(num_convs):
        layers.append(nn.Conv2d(width if index else in_channels, width, 3, padding=1))
        if norm == "group":
            layers.append(nn.GroupNorm(_groups(width), width))
        elif norm == "batch":
            layers.append(nn.BatchNorm2d(width))
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)
