"""Where the points of a pyramid sit."""

import pytest
import torch

from fcos_lightning.detector import Grid, make_points


@pytest.mark.parametrize("offset", [0.5, 0.0, 0.25])
def test_points_against_three_loops(offset: float) -> None:
    sizes, strides = [(3, 5), (2, 3), (1, 2)], [8, 16, 32]
    expected = [
        ((column + offset) * stride, (row + offset) * stride, stride)
        for (height, width), stride in zip(sizes, strides, strict=True)
        for row in range(height)
        for column in range(width)
    ]
    points = make_points(sizes, strides, offset)
    assert torch.cat([points.xy, points.stride[:, None]], dim=1).tolist() == [
        list(row) for row in expected
    ]
    assert points.per_level == [15, 6, 2]
    assert points.feature_sizes == ((3, 5), (2, 3), (1, 2))
    assert points.strides == (8, 16, 32)
    assert (points.xy.dtype, points.stride.dtype) == (torch.float32, torch.float32)


def test_half_a_cell_is_the_official_integer_half_for_even_strides() -> None:
    # The official code adds stride // 2.
    points = make_points([(1, 1)] * 5, [8, 16, 32, 64, 128])
    assert points.xy[:, 0].tolist() == [4, 8, 16, 32, 64]


def test_levels_and_strides_must_be_as_many() -> None:
    with pytest.raises(ValueError, match="2 feature sizes but 1 strides"):
        make_points([(1, 1), (1, 1)], [8])


def test_points_lie_on_the_device_asked_for() -> None:
    points = make_points([(2, 2)], [8], device="meta")
    assert points.xy.device.type == points.stride.device.type == "meta"


def test_squares_come_after_the_anchors_of_all_ratios() -> None:
    grid = Grid((8, 16), anchor_scales=(4.0,), anchor_ratios=(1.0, 4.0), square_scales=(6.0,))
    assert grid.per_cell == 3
    assert grid.anchors_wh().tolist() == [
        [[32, 32], [16, 64], [48, 48]],
        [[64, 64], [32, 128], [96, 96]],
    ]
    points = grid((16, 32))
    assert points.per_level == [2 * 4 * 3, 1 * 2 * 3]
    assert points.size_wh is not None and points.size_wh[2].tolist() == [48, 48]
    assert Grid((8,), square_scales=(2.0,))((8, 8)).size_wh.tolist() == [[16, 16]]  # type: ignore[union-attr]
