import albumentations as A
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fcos_lightning.data.augment import Augmentation, ShorterSide
from fcos_lightning.data.resizing import fitting_scale, planes, resized

NONE = np.zeros((0, 4)), np.zeros(0, dtype=np.int64)


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@settings(max_examples=60, deadline=None)
@given(
    size=st.tuples(st.integers(1, 150), st.integers(1, 150)),
    shorter=st.integers(1, 120),
    longer=st.integers(120, 200),
)
def test_every_road_resizes_to_the_same_pixels(
    size: tuple[int, int], shorter: int, longer: int
) -> None:
    image = noise(*size)
    small = resized(image, fitting_scale(*size, shorter, longer))
    evaluated, *_ = Augmentation([ShorterSide(shorter, longer)])(image, *NONE, seed=0)
    np.testing.assert_array_equal(small, evaluated)
    # Where the longer side does not bind, it is what albumentations' own transform does.
    if max(size) * shorter <= longer * min(size):
        own = A.SmallestMaxSize(shorter, area_for_downscale="image")(image=image)["image"]
        np.testing.assert_array_equal(small, own)


@pytest.mark.parametrize("size", [(1, 1), (1, 40_000), (40_000, 1), (2, 2000), (3, 70_000)])
def test_extreme_shapes_keep_a_pixel_at_least(size: tuple[int, int]) -> None:
    small = resized(noise(*size), fitting_scale(*size, 80, 133))
    assert small.ndim == 3 and small.shape[2] == 3
    assert min(small.shape[:2]) >= 1 and max(small.shape[:2]) <= 133


@pytest.mark.parametrize("size", [(1, 1), (1, 70), (70, 1), (33, 47), (64, 64)])
def test_planes_are_the_transposed_image(size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    for stored in (image, image[:, ::-1]):
        apart = planes(stored)
        assert apart.flags.c_contiguous
        np.testing.assert_array_equal(apart, stored.transpose(2, 0, 1))
