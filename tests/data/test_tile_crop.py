from __future__ import annotations

import numpy as np
import pytest

from fcos_lightning.data import Augmentation, TileCrop
from fcos_lightning.errors import UserError


def marked(height: int, width: int) -> np.ndarray:
    """An image whose pixels tell where they are: row, column, and both beyond 255."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows % 256, columns % 256, rows // 256 * 16 + columns // 256], -1).astype(
        np.uint8
    )


def corner(image: np.ndarray) -> tuple[int, int]:
    row, column, beyond = image[0, 0].tolist()
    return row + beyond // 16 * 256, column + beyond % 16 * 256


def test_a_window_keeps_its_pixels_and_the_boxes_their_places() -> None:
    image = marked(700, 900)
    boxes = np.array([[100.0, 200, 112, 214], [640, 40, 700, 90], [850, 650, 862, 662]])
    augment = Augmentation([TileCrop(128, around=1.0)], min_visibility=0.5)
    corners = set()
    for seed in range(60):
        seen, found, kept, *_ = augment(image, boxes, np.arange(3), seed)
        assert seen.shape == (128, 128, 3)
        y, x = corner(seen)
        np.testing.assert_array_equal(seen, image[y : y + 128, x : x + 128])
        corners.add((y, x))
        assert len(found) >= 1  # around an object, all of which fits
        for box, row in zip(found, kept, strict=True):
            expected = boxes[row] - [x, y, x, y]
            np.testing.assert_allclose(box, expected.clip(0, 128), atol=1e-2)
    assert len(corners) > 50
    again = augment(image, boxes, np.arange(3), 7)
    np.testing.assert_array_equal(again[0], augment(image, boxes, np.arange(3), 7)[0])


def test_windows_lie_anywhere_too_and_objects_larger_than_them_are_met() -> None:
    image = marked(600, 800)
    nowhere = Augmentation([TileCrop(128, around=0.0)])
    places = np.array(
        [corner(nowhere(image, np.zeros((0, 4)), np.zeros(0), s)[0]) for s in range(80)]
    )
    assert places.min() >= 0 and (places.max(axis=0) <= [472, 672]).all()
    assert (places.max(axis=0) - places.min(axis=0) > [380, 540]).all()
    large = np.array([[100.0, 100, 500, 400]])
    augment = Augmentation([TileCrop(128, around=1.0)])
    for seed in range(20):
        seen, found, *_ = augment(image, large, np.zeros(1), seed)
        y, x = corner(seen)
        assert len(found) == 1 and 100 <= x <= 372 and 100 <= y <= 272


def test_what_is_no_larger_stays_whole() -> None:
    image = marked(100, 300)
    seen, *_ = Augmentation([TileCrop(128)])(image, np.array([[5.0, 5, 20, 20]]), np.zeros(1), 0)
    assert seen.shape == (100, 128, 3)
    small = marked(60, 50)
    seen, *_ = Augmentation([TileCrop(128)])(small, np.zeros((0, 4)), np.zeros(0), 0)
    np.testing.assert_array_equal(seen, small)


@pytest.mark.parametrize("options", [{"side": 31}, {"side": 64, "around": 1.5}])
def test_a_wrong_option_is_said(options: dict[str, float]) -> None:
    with pytest.raises(UserError, match=r"TileCrop\.(side|around)=.*: give"):
        TileCrop(**options)  # type: ignore[arg-type]
