"""A number of positives that moves slowly, to divide the classification loss by."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fcos_lightning.errors import UserError
from fcos_lightning.structures import Totals


class MovingPositives(nn.Module):
    """Moving average of the positives of a step (AdelaiDet's ``moving_fg``).

    A step with few positives then does not weigh its many background points more than others do.
    The average is a buffer: a resumed run goes on with it.

    Args:
        momentum: share of the old average that each step keeps; 0.9 in AdelaiDet and detectron2.
        start: average before the first step, for the optimiser step as a whole (detectron2 starts
            at 300 on each rank); None: the first step's own number.

    Raises:
        UserError: if ``momentum`` is not in [0, 1).
    """

    def __init__(self, momentum: float = 0.9, start: float | None = None) -> None:
        super().__init__()
        if not 0 <= momentum < 1:
            raise UserError(f"moving_normaliser={momentum}: give a number in [0, 1)")
        self.momentum = momentum
        # Not a number: nothing was counted yet.
        self.register_buffer("average", torch.tensor(float("nan") if start is None else start))
        self.average: Tensor

    @torch.no_grad()
    def forward(self, totals: Totals) -> Totals:
        """Take in the positives of a step; return its totals with ``moving_positives`` beside.

        Raises:
            UserError: if the loss counts no positives.
        """
        if "positives" not in totals.sums:
            raise UserError(
                "moving_normaliser: the loss of this method counts no positives; give null"
            )
        positives = totals.sums["positives"]
        before = torch.where(self.average.isnan(), positives, self.average)
        self.average.copy_(before * self.momentum + positives * (1 - self.momentum))
        return Totals({**totals.sums, "moving_positives": self.average.clone()}, totals.batches)
