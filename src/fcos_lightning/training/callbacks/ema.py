"""Exponential moving average of the weights."""

from __future__ import annotations

from collections.abc import Callable

import torch
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from fcos_lightning.errors import UserError


class EMA(WeightAveraging):
    """Lightning's weight averaging with a decay that warms up.

    After ``n`` steps the decay is ``min(decay, (1 + n) / (10 + n))``, so that a short run is not
    dominated by its random beginning (the rule of TensorFlow's ExponentialMovingAverage).
    Evaluation and checkpoints use the averaged weights.

    Args:
        decay: share of the old average that each step keeps.

    Raises:
        UserError: if that is no share below 1.
    """

    def __init__(self, decay: float = 0.999) -> None:
        if not 0 <= decay < 1:
            raise UserError(f"callbacks.ema.decay={decay}: give at least 0 and less than 1")
        super().__init__(multi_avg_fn=_warming(decay))


def _warming(decay: float) -> Callable[[list[Tensor], list[Tensor], Tensor | int], None]:
    @torch.no_grad()
    def update(averages: list[Tensor], current: list[Tensor], number: Tensor | int) -> None:
        if not averages[0].is_floating_point():  # BatchNorm's counters of batches
            for average, value in zip(averages, current, strict=True):
                average.copy_(value)
            return
        keep = min(decay, (1 + int(number)) / (10 + int(number)))
        moved = [value.to(average) for average, value in zip(averages, current, strict=True)]
        get_ema_multi_avg_fn(keep)(averages, moved, number)  # type: ignore[no-untyped-call]

    return update
