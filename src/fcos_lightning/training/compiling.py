"""``trainer.compile=true``: the training step by torch.compile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch._dynamo.exc import TorchDynamoException

from fcos_lightning.detector import DenseDetector
from fcos_lightning.detector.parts import Assigner, Loss
from fcos_lightning.structures import (
    Assignment,
    Losses,
    Points,
    Prediction,
    Target,
    Targets,
    Totals,
)

#: What a translation fails with, also for want of a C++ compiler. In public torch.compile names no
#: errors of its own, but for a RuntimeError as any other.
TranslationError = TorchDynamoException


def compile_detector(
    detector: DenseDetector, backend: str | Callable[..., Any] = "inductor"
) -> None:
    """Let torch.compile translate, in place, what a training step runs: net, assignment, losses.

    Each is one graph without a break. Assignment and losses are translated for any size, the net
    for that of the first batch, which suits data of one size best, and with the second size for
    any; later ones need nothing anew, but for maps of a single row or column. Between the graphs
    lies what several devices share: the losses' totals.

    Args:
        detector: its parameters and their names stay as they are.
        backend: of ``torch.compile``.
    """
    compiled = partial(torch.compile, fullgraph=True, dynamic=True, backend=backend)
    detector.compile(fullgraph=True, backend=backend)
    detector.assigner = _CompiledAssigner(detector.assigner, compiled(detector.assigner.__call__))
    detector.loss = _CompiledLoss(detector.loss, compiled(detector.loss.__call__))


class _CompiledAssigner(Assigner):
    """An assigner that was translated."""

    plain: Assigner
    translated: Callable[..., Any]

    def __init__(self, plain: Assigner, translated: Callable[..., Any]) -> None:
        vars(self).update(plain=plain, translated=translated)  # the class is a frozen one

    @property
    def needs_prediction(self) -> bool:  # type: ignore[override]  # as the plain one says
        return self.plain.needs_prediction

    def __call__(
        self,
        points: Points,
        targets: Targets | Sequence[Target],
        prediction: Prediction | None = None,
    ) -> Assignment:
        assignment: Assignment = self.translated(points, targets, prediction)
        return assignment


class _CompiledLoss(Loss):
    """A loss that was translated."""

    plain: Loss
    translated: Callable[..., Any]

    def __init__(self, plain: Loss, translated: Callable[..., Any]) -> None:
        vars(self).update(plain=plain, translated=translated)  # the class is a frozen one

    def totals(self, assignment: Assignment) -> dict[str, Tensor]:
        return self.plain.totals(assignment)

    def __call__(
        self,
        prediction: Prediction,
        assignment: Assignment,
        points: Points,
        totals: Totals | None = None,
    ) -> Losses:
        losses: Losses = self.translated(prediction, assignment, points, totals)
        return losses
