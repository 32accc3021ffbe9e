"""What is predicted, what should be, and what the difference costs."""

from __future__ import annotations

import functools
import operator
from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from fcos_lightning.structures.on_device import OnDevice


@dataclass(frozen=True, eq=False)
class Points(OnDevice):
    """The places that predict: one or more for each feature-map cell of every level.

    Attributes:
        xy: ``[P, 2]`` float32 pixels.
        stride: ``[P]`` float32 pixels.
        feature_sizes: height and width of each level's feature map.
        strides: stride of each level in pixels.
        size_wh: ``[P, 2]`` float32 pixels, width and height of the anchor box whose center the
            point is; None: points without anchors.
        per_cell: how many points a cell has, one after the other; 1 without anchors.
    """

    xy: Tensor
    stride: Tensor
    feature_sizes: tuple[tuple[int, int], ...]
    strides: tuple[int, ...]
    size_wh: Tensor | None = None
    per_cell: int = 1

    @property
    def per_level(self) -> list[int]:
        """Number of points of each level; they add up to ``P``."""
        return [height * width * self.per_cell for height, width in self.feature_sizes]


@dataclass(frozen=True, eq=False)
class Prediction(OnDevice):
    """What the head says at every point, in training and evaluation alike.

    A head may give a class of its own with further fields, which its loss and decoder know.

    Attributes:
        cls_logits: ``[B, P, C]``.
        ltrb_px: ``[B, P, 4]`` distances to the four sides, in pixels.
        quality_logits: ``[B, P]``; centerness in the paper. None: nothing predicts it.
    """

    cls_logits: Tensor
    ltrb_px: Tensor
    quality_logits: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Assignment(OnDevice):
    """Which box each point answers for: the article's label mapping.

    Attributes:
        labels: ``[B, P]`` int64, -1 is background.
        ltrb_px: ``[B, P, 4]`` float32 pixels, 0 on background. Negative where the point of an
            anchor lies outside of its box.
        matched: ``[B, P]`` int64 index of the box among its image's boxes, -1 is none.
        claims: ``[B, P]`` int64, how many boxes claimed the point; above 1 it was ambiguous.
        weight: ``[B, P]`` float32, how much of a positive each point is, the soft target of
            mappings that grade their points; None: each is a whole one.
        ignored: ``[B, P]`` bool, points that are neither positive nor background, so that no
            loss looks at them; None: there are none.
    """

    labels: Tensor
    ltrb_px: Tensor
    matched: Tensor
    claims: Tensor
    weight: Tensor | None = None
    ignored: Tensor | None = None

    @property
    def positive(self) -> Tensor:
        """``[B, P]`` bool: the points that answer for a box."""
        return self.labels >= 0


@dataclass(frozen=True, eq=False)
class Totals(OnDevice):
    """What a loss divides by: sums over all the batches of an optimiser step, on all devices.

    Attributes:
        sums: scalars float32 by the names that the loss gave them.
        batches: how many batches they are of. Gradients are averaged over those, so each batch
            divides by its share of a sum.
    """

    sums: Mapping[str, Tensor]
    batches: int = 1

    def share(self, name: str, at_least: float = 0.0) -> Tensor:
        """Return one batch's share of a sum, the sum being no less than ``at_least``."""
        return self.sums[name].clamp(min=at_least) / self.batches

    def positives_for_classes(self, at_least: float = 0.0) -> Tensor:
        """Return one batch's share of what the classification loss is divided by.

        That is ``positives``, or ``moving_positives`` where these are given (``MovingPositives``).
        """
        moving = "moving_positives" in self.sums
        return self.share("moving_positives" if moving else "positives", at_least)


@dataclass(frozen=True, eq=False)
class Losses(OnDevice):
    """Scalars of one batch, by name.

    Attributes:
        terms: what is minimised: their sum is.
        monitors: what is only looked at, without gradient.
    """

    terms: Mapping[str, Tensor]
    monitors: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def total(self) -> Tensor:
        """The scalar that is minimised."""
        return functools.reduce(operator.add, self.terms.values())
