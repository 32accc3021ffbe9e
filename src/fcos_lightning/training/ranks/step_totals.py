"""What the losses of an optimiser step are divided by, whoever computes which part of it."""

from __future__ import annotations

import lightning as L
import torch

from fcos_lightning.detector import DenseDetector
from fcos_lightning.structures import Assignment, Batch, Totals


def totals_of_step(
    detector: DenseDetector, assignment: Assignment, batch: Batch, trainer: L.Trainer
) -> Totals:
    """Return the sums over all ranks and all accumulated batches of a step.

    The gradients are then those of one device with one large batch. Every rank takes part, also
    one without a positive. Of an assigner that looks at predictions there is nothing to be said of
    the batches that follow: it has each accumulated batch by itself.

    Args:
        detector: its loss says what is summed.
        assignment: of this rank's batch.
        batch: that batch; the first of a step knows the targets of those that follow.
        trainer: knows the other ranks.
    """
    each_alone = detector.assigner.needs_prediction
    sums = detector.loss.totals(assignment)
    for other in () if each_alone else batch.rest_of_step:
        more = detector.loss.totals(detector.assign(detector.grid(other), other.targets))
        sums = {name: value + more[name] for name, value in sums.items()}
    if sums:  # in one message for all
        stacked = torch.stack(list(sums.values()))
        stacked = trainer.strategy.reduce(stacked, reduce_op="sum")
        sums = dict(zip(sums, stacked.unbind(), strict=True))
    accumulated = 1 if each_alone else trainer.accumulate_grad_batches
    return Totals(sums, batches=trainer.world_size * accumulated)
