"""Which images make up which batch: arithmetic, not state.

The batches of an epoch are a function of (seed, epoch): the same on one device or eight and with
any number of workers. Each rank takes its share of every batch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from torch.utils.data import Sampler

if TYPE_CHECKING:
    from numpy.typing import NDArray


def epoch_batches(
    wide: NDArray[np.bool_], batch_size: int, seed: int, epoch: int, group: bool = True
) -> NDArray[np.int64]:
    """Return the images of every batch of an epoch, ``[batches, batch_size]``.

    Every image comes at least once. The last batch is filled from the epoch's beginning.

    Args:
        wide: ``[N]`` whether each image is wider than high.
        batch_size: over all devices.
        seed: of the run.
        epoch: 0-based.
        group: keep wide and high images apart, so that less is padded; at most one batch mixes.
    """
    random = np.random.default_rng([seed, epoch])
    order = random.permutation(len(wide))
    if group:
        groups = [order[wide[order]], order[~wide[order]]]
        full = [part[: len(part) // batch_size * batch_size] for part in groups]
        rest = [part[len(part) // batch_size * batch_size :] for part in groups]
        order = np.concatenate([*full, *rest])
    number = math.ceil(len(order) / batch_size)
    batches = np.resize(order, (number, batch_size))  # numpy's resize repeats from the beginning
    return batches[random.permutation(number)]


class EpochBatchSampler(Sampler[list[tuple[int, int]]]):
    """Hands out this rank's share of each batch as ``(epoch, image)`` pairs.

    Args:
        wide: ``[N]`` whether each image is wider than high.
        batch_size: over all devices.
        seed: of the run.
        rank: of this process.
        world_size: number of processes; divides ``batch_size``.
        group: see ``epoch_batches``.
        epoch: the first to hand out.
        start: batches of that epoch to pass over, which a resumed run has learnt from already.
    """

    def __init__(
        self,
        wide: NDArray[np.bool_],
        batch_size: int,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        group: bool = True,
        epoch: int = 0,
        start: int = 0,
    ) -> None:
        self.wide = wide
        self.batch_size = batch_size
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.group = group
        self.epoch = epoch
        self._started = (epoch, start)

    @property
    def sampler(self) -> EpochBatchSampler:
        """Lightning looks for ``set_epoch`` on a batch sampler's sampler."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration hands out; called by Lightning."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Return the batches of a whole epoch, also where the first ones are passed over."""
        return math.ceil(len(self.wide) / self.batch_size)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        share = self.batch_size // self.world_size
        mine = slice(self.rank * share, (self.rank + 1) * share)
        epoch = self.epoch
        batches = epoch_batches(self.wide, self.batch_size, self.seed, epoch, self.group)
        start = self._started[1] if epoch == self._started[0] else 0
        for batch in batches[start:]:
            yield [(epoch, int(image)) for image in batch[mine]]


class EvaluationSampler(Sampler[list[tuple[int, int]]]):
    """Hands out every image exactly once over all ranks: nothing is repeated to even them out.

    Args:
        number: of images.
        batch_size: of each device.
        rank: of this process.
        world_size: number of processes.
    """

    def __init__(
        self, number: int, batch_size: int = 1, rank: int = 0, world_size: int = 1
    ) -> None:
        self.mine = range(rank, number, world_size)
        self.batch_size = batch_size

    def __len__(self) -> int:
        return math.ceil(len(self.mine) / self.batch_size)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for start in range(0, len(self.mine), self.batch_size):
            yield [(0, image) for image in self.mine[start : start + self.batch_size]]
