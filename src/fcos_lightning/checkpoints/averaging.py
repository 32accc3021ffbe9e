"""The mean of several checkpoints of one detector, as of the best epochs of a run."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fcos_lightning.checkpoints.checkpoint import Checkpoint
from fcos_lightning.checkpoints.fitting import check_same
from fcos_lightning.errors import UserError


def mean_of(checkpoints: Sequence[Checkpoint]) -> Checkpoint:
    """Return a checkpoint whose weights are the mean of others'.

    Statistics of BatchNorm are means too, of their means and variances. What is counted rather than
    learnt, and what is said about the detector, is the first one's.

    Args:
        checkpoints: of detectors that are made alike; two or more.

    Raises:
        UserError: if there is one alone, or one is of another detector than the first.
    """
    if len(checkpoints) < 2:
        raise UserError("average: give two checkpoints or more")
    first, *others = checkpoints
    for other in others:
        for key in sorted({*first.spec, *other.spec}):
            if first.spec.get(key) != other.spec.get(key):
                raise UserError(
                    f"average: {other.path} is of another detector than {first.path}: "
                    f"{key} differs; average checkpoints of one run, or of runs that are made alike"
                )
        try:
            check_same(first.weights, other.weights)
        except UserError as error:
            raise UserError(f"average: {other.path} beside {first.path}: {error}") from error
    weights = {key: _mean([one.weights[key] for one in checkpoints]) for key in first.weights}
    return Checkpoint(first.path, first.spec, weights, first.about, {})


def _mean(tensors: Sequence[Tensor]) -> Tensor:
    first = tensors[0]
    if not first.is_floating_point():
        return first
    # In float64 the sum of equal numbers over their count is the number again.
    total = torch.zeros_like(first, dtype=torch.float64)
    for tensor in tensors:
        total += tensor.double()
    return (total / len(tensors)).to(first.dtype)
