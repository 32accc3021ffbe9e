from itertools import chain

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fcos_lightning.data.batches.sampler import EpochBatchSampler, EvaluationSampler, epoch_batches


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
