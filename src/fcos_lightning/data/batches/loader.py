"""Hands out batches, and knows which of them make one optimiser step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from torch.utils.data import DataLoader

from fcos_lightning.structures import Batch, PaddedTargets


class StepLoader(DataLoader[Batch]):
    """A ``DataLoader`` whose batches know the ground truth of their whole optimiser step.

    The losses of a step are divided by its number of positives. Where gradients of several batches
    are accumulated, that number is needed before the first of them is over.

    Args:
        *args: of ``DataLoader``.
        batches_per_step: ``Trainer.accumulate_grad_batches``.
        **kwargs: of ``DataLoader``.
    """

    def __init__(
        self,
        *args: Any,  # noqa: ANN401  # those of DataLoader
        batches_per_step: int = 1,
        **kwargs: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(*args, **kwargs)
        self.batches_per_step = batches_per_step

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]  # as a generator
        batches = iter(super().__iter__())
        while step := list(islice(batches, self.batches_per_step)):
            yield from _introduced(step)


def _introduced(step: Sequence[Batch]) -> Sequence[Batch]:
    first, *others = step
    if not others:
        return step
    rest = tuple(PaddedTargets(other.targets, other.images.padded_size) for other in others)
    return [replace(first, rest_of_step=rest), *others]
