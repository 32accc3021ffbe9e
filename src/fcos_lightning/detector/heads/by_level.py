"""A head that looks at one level after the other."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import fields
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from fcos_lightning.errors import UserError
from fcos_lightning.layers.recompute import recomputed
from fcos_lightning.structures import Prediction

OfLevel = TypeVar("OfLevel", bound=Prediction)


class HeadByLevel(nn.Module):
    """What the heads have in common: a subclass says what it predicts on one level.

    Args:
        num_classes: ``C``.

    Attributes:
        recompute: whether maps are worked out again on the way back (``recompute_activations``).

    Raises:
        UserError: if there are no classes.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        if num_classes < 1:
            raise UserError(f"a detector needs at least one class, not {num_classes}")
        self.num_classes = num_classes
        self.recompute = False

    @abstractmethod
    def at_level(self, feature: Tensor, level: int) -> Prediction:
        """Return the prediction at the points of a level, for its map ``[B, channels, H, W]``."""

    def forward(self, maps: Sequence[Tensor]) -> Prediction:
        """Return the prediction at the points of all levels, for maps ``[B, channels, H, W]``."""
        look = recomputed(self.at_level) if self.recompute else self.at_level
        return one_behind_the_other([look(feature, level) for level, feature in enumerate(maps)])


def one_behind_the_other(levels: Sequence[OfLevel]) -> OfLevel:
    """Return the predictions of levels, ``[B, P, ...]`` each, as one; a single one as it is."""
    if len(levels) == 1:
        return levels[0]
    joined: dict[str, Any] = {}
    for field in fields(levels[0]):
        of_levels = [getattr(level, field.name) for level in levels]
        joined[field.name] = None if of_levels[0] is None else torch.cat(of_levels, dim=1)
    return type(levels[0])(**joined)
