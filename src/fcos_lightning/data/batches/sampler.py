"""Which images make up which batch: arithmetic, not state.

The batches of an epoch are a function of (seed, epoch): the same on one device or eight and with
any number of workers. Each rank takes its share of every batch.

Images in shards may be too many to keep at hand. Then the shards are shuffled, and the images of so
many shards at a time, a window, among themselves.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from torch.utils.data import Sampler

from fcos_lightning.errors import UserError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fcos_lightning.data.batches.windows import Windows
    from fcos_lightning.data.stores.store import ReadsAhead


def share_of_batch(batch_size: int, devices: int) -> int:
    """Return the images of each device.

    Raises:
        UserError: if the devices cannot share a batch evenly; it says which numbers could.
    """
    if batch_size % devices:
        divisors = [n for n in range(1, batch_size + 1) if batch_size % n == 0]
        below = max(n for n in divisors if n < devices)
        above = min((n for n in divisors if n > devices), default=None)
        nearest = f"{below} or {above}" if above else str(below)
        raise UserError(
            f"data.batch_size={batch_size} cannot be shared by {devices} devices; "
            f"use {nearest} devices, or a batch_size that is a multiple of {devices}"
        )
    return batch_size // devices


def epoch_batches(
    wide: NDArray[np.bool_],
    batch_size: int,
    seed: int,
    epoch: int,
    group: bool = True,
    windows: Windows | None = None,
) -> NDArray[np.int64]:
    """Return the images of every batch of an epoch, ``[batches, batch_size]``.

    Every image comes at least once. The last batch is filled from the epoch's beginning, or with
    windows from the last one's.

    Args:
        wide: ``[N]`` whether each image is wider than high.
        batch_size: over all devices.
        seed: of the run.
        epoch: 0-based.
        group: keep wide and high images apart, so that less is padded; at most one batch mixes.
        windows: of images in shards; None: images are shuffled all together, as they also are
            where one window holds them all.
    """
    random = np.random.default_rng([seed, epoch])
    if windows is not None and not windows.is_whole:
        return _windowed(wide, batch_size, random, group, windows)
    order = random.permutation(len(wide))
    if group:
        groups = [order[wide[order]], order[~wide[order]]]
        full = [part[: len(part) // batch_size * batch_size] for part in groups]
        rest = [part[len(part) // batch_size * batch_size :] for part in groups]
        order = np.concatenate([*full, *rest])
    number = math.ceil(len(order) / batch_size)
    batches = np.resize(order, (number, batch_size))  # numpy's resize repeats from the beginning
    return batches[random.permutation(number)]


def _windowed(
    wide: NDArray[np.bool_],
    batch_size: int,
    random: np.random.Generator,
    group: bool,
    windows: Windows,
) -> NDArray[np.int64]:
    """Return the batches of an epoch, window after window.

    What fills no batch goes on into the next window. Within a batch images lie in the order of
    their shards, so that ranks, which take one part each, ask for few shards that others ask for.
    """
    place = np.empty(int(windows.shard.max()) + 1, dtype=np.int64)  # of each shard in the epoch
    place[random.permutation(len(place))] = np.arange(len(place))
    placed = place[windows.shard]
    by_place = np.argsort(placed, kind="stable")
    ends = np.arange(windows.shards, len(place) + windows.shards, windows.shards)
    parts = np.split(by_place, np.searchsorted(placed[by_place], ends)[:-1])
    rest = [np.zeros(0, dtype=np.int64)] * 2
    batches: list[NDArray[np.int64]] = []
    for part in parts:
        order = random.permutation(part)
        is_wide = wide[order] if group else np.ones(len(order), dtype=np.bool_)
        rest = [
            np.concatenate([before, order[chosen]])
            for before, chosen in zip(rest, (is_wide, ~is_wide), strict=True)
        ]
        full = [kind[: len(kind) // batch_size * batch_size] for kind in rest]
        rest = [kind[len(kind) // batch_size * batch_size :] for kind in rest]
        of_window = np.concatenate(full).reshape(-1, batch_size)
        batches.append(of_window[random.permutation(len(of_window))])
    left = np.concatenate(rest)
    if len(left):
        number = math.ceil(len(left) / batch_size)
        filled = np.concatenate([left, np.resize(order, number * batch_size - len(left))])
        batches.append(filled.reshape(number, batch_size))
    together = np.concatenate(batches)
    by_shard = np.argsort(placed[together], axis=1, kind="stable")
    return np.take_along_axis(together, by_shard, axis=1)


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
        windows: see ``epoch_batches``.
        ahead: is told which images are going to be asked for, and how far they were.
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
        windows: Windows | None = None,
        ahead: ReadsAhead | None = None,
    ) -> None:
        self.wide = wide
        self.batch_size = batch_size
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.group = group
        self.epoch = epoch
        self.windows = windows
        self.ahead = ahead
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
        batches = epoch_batches(
            self.wide, self.batch_size, self.seed, epoch, self.group, self.windows
        )
        start = self._started[1] if epoch == self._started[0] else 0
        yield from followed(batches[start:, mine], epoch, self.ahead)


class EvaluationSampler(Sampler[list[tuple[int, int]]]):
    """Hands out every image exactly once over all ranks: nothing is repeated to even them out.

    Args:
        number: of images.
        batch_size: of each device.
        rank: of this process.
        world_size: number of processes.
        ahead: see ``EpochBatchSampler``.
    """

    def __init__(
        self,
        number: int,
        batch_size: int = 1,
        rank: int = 0,
        world_size: int = 1,
        ahead: ReadsAhead | None = None,
    ) -> None:
        self.mine = range(rank, number, world_size)
        self.batch_size = batch_size
        self.ahead = ahead

    def __len__(self) -> int:
        return math.ceil(len(self.mine) / self.batch_size)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        starts = range(0, len(self.mine), self.batch_size)
        batches = [np.array(self.mine[start : start + self.batch_size]) for start in starts]
        yield from followed(batches, 0, self.ahead)


def followed(
    batches: Sequence[NDArray[np.int64]] | NDArray[np.int64],
    epoch: int,
    ahead: ReadsAhead | None,
) -> Iterator[list[tuple[int, int]]]:
    """Hand out batches as ``(epoch, image)`` pairs, and say how far they were handed out.

    Args:
        batches: images of each.
        epoch: that they are of.
        ahead: who is told; None: nobody.
    """
    begun = None if ahead is None else ahead.begin(batches)
    try:
        for number, batch in enumerate(batches):
            if ahead is not None:
                ahead.reached(number)
            yield [(epoch, image) for image in batch.tolist()]
    except GeneratorExit:  # nobody wants the rest
        if ahead is not None and begun is not None:
            ahead.end(begun)
        raise
