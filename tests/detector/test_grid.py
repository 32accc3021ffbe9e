"""Where the points of a pyramid sit."""

import pytest
import torch

from fcos_lightning.detector import make_points


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
