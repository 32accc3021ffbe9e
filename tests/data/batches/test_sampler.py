from collections.abc import Iterable
from itertools import chain

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fcos_lightning.data.batches.sampler import EpochBatchSampler, EvaluationSampler, epoch_batches
from fcos_lightning.data.batches.windows import Windows


@settings(max_examples=200, deadline=None)
@given(
    number=st.integers(1, 60),
    batch_size=st.sampled_from([1, 2, 4, 8, 16]),
    seed=st.integers(0, 5),
    epoch=st.integers(0, 5),
    group=st.booleans(),
)
def test_every_image_comes_in_every_epoch(
    number: int, batch_size: int, seed: int, epoch: int, group: bool
) -> None:
    wide = np.arange(number) % 3 == 0
    batches = epoch_batches(wide, batch_size, seed, epoch, group)
    assert batches.shape == (-(-number // batch_size), batch_size)
    assert set(batches.ravel()) == set(range(number))
    # Only what fills the last batch comes twice, where the data set holds a batch.
    if number >= batch_size:
        assert np.bincount(batches.ravel()).max() <= 2
        assert (np.bincount(batches.ravel()) == 2).sum() == batches.size - number


@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_ranks_share_the_same_batches(world_size: int) -> None:
    wide = np.arange(37) % 2 == 0
    ranks = []
    for rank in range(world_size):
        sampler = EpochBatchSampler(wide, 8, seed=3, rank=rank, world_size=world_size)
        sampler.set_epoch(2)
        assert len(list(sampler)) == len(sampler)
        ranks.append(list(sampler))
    together = [list(chain(*parts)) for parts in zip(*ranks, strict=True)]
    expected = epoch_batches(wide, 8, 3, 2)
    assert [[image for _, image in batch] for batch in together] == expected.tolist()
    assert all(epoch == 2 for batch in together for epoch, _ in batch)


def test_epochs_and_seeds_differ_and_repeat() -> None:
    wide = np.zeros(50, dtype=bool)
    first = epoch_batches(wide, 4, 0, 0)
    assert np.array_equal(first, epoch_batches(wide, 4, 0, 0))
    assert not np.array_equal(first, epoch_batches(wide, 4, 0, 1))
    assert not np.array_equal(first, epoch_batches(wide, 4, 1, 0))


def test_wide_and_high_images_meet_in_one_batch_at_most() -> None:
    wide = np.arange(103) % 3 == 0
    mixed = [batch for batch in epoch_batches(wide, 8, 0, 0) if 0 < wide[batch].sum() < 8]
    assert len(mixed) <= 2  # where the rest of both meets, and what fills the last batch


@pytest.mark.parametrize(
    ("number", "batch_size", "world_size"), [(21, 1, 4), (21, 4, 2), (3, 2, 4)]
)
def test_evaluation_sees_each_image_once(number: int, batch_size: int, world_size: int) -> None:
    seen = []
    for rank in range(world_size):
        sampler = EvaluationSampler(number, batch_size, rank, world_size)
        batches = list(sampler)
        assert len(batches) == len(sampler)
        seen += [image for batch in batches for _, image in batch]
    assert sorted(seen) == list(range(number))


# Windows of shards


@settings(max_examples=200, deadline=None)
@given(
    number=st.integers(1, 80),
    per_shard=st.integers(1, 9),
    window=st.integers(1, 6),
    batch_size=st.sampled_from([1, 2, 4, 8]),
    seed=st.integers(0, 3),
    group=st.booleans(),
)
def test_every_image_comes_in_every_epoch_of_windows(
    number: int, per_shard: int, window: int, batch_size: int, seed: int, group: bool
) -> None:
    wide = np.arange(number) % 3 == 0
    windows = Windows((np.arange(number) // per_shard).astype(np.int32), window)
    batches = epoch_batches(wide, batch_size, seed, 1, group, windows)
    assert batches.shape == (-(-number // batch_size), batch_size)
    counted = np.bincount(batches.ravel(), minlength=number)
    assert counted.min() >= 1 and counted.sum() == batches.size
    assert np.array_equal(batches, epoch_batches(wide, batch_size, seed, 1, group, windows))
    if windows.is_whole:
        assert np.array_equal(batches, epoch_batches(wide, batch_size, seed, 1, group))


@pytest.mark.parametrize("group", [True, False])
def test_a_window_is_done_before_the_next_begins(group: bool) -> None:
    shard = np.repeat(np.arange(20), 50).astype(np.int32)
    wide = np.arange(1000) % 4 == 0
    batches = epoch_batches(wide, 8, 5, 2, group, Windows(shard, 4))
    of_batch = shard[batches]
    first = {one: int(np.flatnonzero((of_batch == one).any(axis=1))[0]) for one in range(20)}
    last = {one: int(np.flatnonzero((of_batch == one).any(axis=1))[-1]) for one in range(20)}
    at_hand = [sum(first[one] <= place <= last[one] for one in range(20)) for place in range(125)]
    # Two windows where one ends; what has filled no batch of theirs, wide or high, at the end.
    assert max(at_hand) <= 8 and sorted(at_hand)[len(at_hand) // 2] <= 6
    assert len({tuple(sorted(set(one))) for one in of_batch.tolist()}) > 20  # and mixed within
    assert not np.array_equal(
        of_batch, shard[epoch_batches(wide, 8, 5, 3, group, Windows(shard, 4))]
    )


@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_ranks_share_the_batches_of_windows(world_size: int) -> None:
    shard = np.repeat(np.arange(8), 12).astype(np.int32)
    wide = np.arange(96) % 2 == 0
    windows = Windows(shard, 4)
    ranks = [
        list(EpochBatchSampler(wide, 8, 3, rank, world_size, windows=windows))
        for rank in range(world_size)
    ]
    together = [[image for _, image in chain(*parts)] for parts in zip(*ranks, strict=True)]
    assert together == epoch_batches(wide, 8, 3, 0, windows=windows).tolist()
    for batch in ranks[0]:  # a rank asks for shards that lie beside one another in the epoch
        assert len({shard[image] for _, image in batch}) <= 4


def test_a_run_goes_on_within_an_epoch_of_windows() -> None:
    wide = np.arange(96) % 2 == 0
    windows = Windows(np.repeat(np.arange(8), 12).astype(np.int32), 3)
    whole = list(EpochBatchSampler(wide, 8, 3, epoch=2, windows=windows))
    rest = list(EpochBatchSampler(wide, 8, 3, epoch=2, start=5, windows=windows))
    assert rest == whole[5:]


def test_who_reads_ahead_is_told_what_comes_and_how_far_it_came() -> None:
    told: list[object] = []

    class Ahead:
        def begin(self, batches: Iterable[NDArray[np.int64]]) -> int:
            told.append([batch.tolist() for batch in batches])
            return 7

        def reached(self, batch: int) -> None:
            told.append(batch)

        def end(self, number: int) -> None:
            told.append(f"end {number}")

    sampler = EpochBatchSampler(np.zeros(8, dtype=bool), 4, world_size=2, rank=1, ahead=Ahead())
    handed_out = [[image for _, image in batch] for batch in sampler]
    assert told == [handed_out, 0, 1]  # what is at hand is read to its end
    told.clear()
    given_up = iter(EvaluationSampler(3, 2, ahead=Ahead()))
    next(given_up)
    del given_up
    assert told[1:] == [0, "end 7"]
