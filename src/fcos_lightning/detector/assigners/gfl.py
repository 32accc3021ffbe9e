"""ATSS whose positives count as much as their predicted class does: GFL's mapping."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from fcos_lightning.detector.assigners.atss import ATSSAssigner
from fcos_lightning.structures import Assignment, Points, Prediction, Target, Targets


@dataclass(frozen=True)
class GFLAssigner(ATSSAssigner):
    """ATSS; each positive weighs its largest class probability (GFL's official code).

    Which points are positive depends on the boxes alone. The weights and their sum, which the box
    terms are divided by, depend on the prediction: each of several accumulated batches is divided
    by its own.
    """

    name: ClassVar[str] = "gfl"
    needs_prediction: ClassVar[bool] = True

    @torch.no_grad()
    def __call__(
        self,
        points: Points,
        targets: Targets | Sequence[Target],
        prediction: Prediction | None = None,
    ) -> Assignment:
        """Return the assignment with its weights.

        Raises:
            ValueError: if there is no prediction, or a cell has several points.
        """
        if prediction is None:
            raise ValueError("the assigner gfl looks at the prediction; give it")
        assignment = super().__call__(points, targets)
        score = prediction.cls_logits.float().amax(dim=-1).sigmoid()
        return replace(assignment, weight=torch.where(assignment.positive, score, 0.0))
