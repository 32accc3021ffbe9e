"""Options of other implementations: what they change, and only that."""

import math

import pytest
import torch

from fcos_lightning import Target, build_fcos
from fcos_lightning.detector import assign, decode, make_points
from fcos_lightning.errors import UserError
from fcos_lightning.structures import Prediction


def logit(probability: float) -> float:
    return math.log(probability / (1 - probability))


def prediction_of(rows: list[tuple[float, float, list[float]]]) -> Prediction:
    """One image, one class: class probability, quality and distances of each point."""
    return Prediction(
        torch.tensor([[[logit(cls)] for cls, _, _ in rows]]),
        torch.tensor([[ltrb for _, _, ltrb in rows]]),
        torch.tensor([[logit(quality) for _, quality, _ in rows]]),
    )


@pytest.mark.parametrize(
    ("score", "passing"), [("sqrt", [0, 2]), ("product", [0]), ("class", [0, 1, 2])]
)
def test_a_threshold_on_the_score(score: str, passing: list[int]) -> None:
    points = make_points([(1, 4)], [64])
    rows = [(0.9, 0.5, 4.0), (0.5, 0.05, 5.0), (0.25, 0.25, 6.0), (0.1, 0.3, 7.0)]
    prediction = prediction_of([(c, q, [d, d, d, d]) for c, q, d in rows])
    sizes = torch.tensor([[64, 256]])
    found = decode(
        prediction, points, sizes, score=score, threshold_on="score", score_threshold=0.2
    )[0]
    widths = (found.boxes_xyxy[:, 2] - found.boxes_xyxy[:, 0]).sort().values
    assert widths.tolist() == pytest.approx([2 * rows[index][2] for index in passing])
    everything = decode(
        prediction, points, sizes, score=score, threshold_on="score", score_threshold=0.0
    )[0]
    assert len(everything) == 4


def test_clipping_before_nms_makes_boxes_alike() -> None:
    # Beyond the image's edge two boxes differ; inside it they are one.
    points = make_points([(1, 2)], [16])
    prediction = prediction_of([(0.9, 0.9, [8, 8, 88, 8]), (0.8, 0.9, [24, 8, 8, 8])])
    sizes = torch.tensor([[16, 32]])
    assert len(decode(prediction, points, sizes)[0]) == 1
    after = decode(prediction, points, sizes, clip="after_nms")[0]
    assert after.boxes_xyxy.tolist() == [[0, 0, 32, 16], [0, 0, 32, 16]]


@pytest.mark.parametrize("clip", ["before_nms", "after_nms"])
def test_boxes_without_area_can_be_left_out(clip: str) -> None:
    points = make_points([(1, 3)], [16])
    prediction = prediction_of(
        [(0.9, 0.9, [0, 4, 0, 4]), (0.8, 0.9, [4, 4, 4, 4]), (0.7, 0.9, [2, -9, 2, 20])]
    )
    sizes = torch.tensor([[16, 48]])
    assert len(decode(prediction, points, sizes, clip=clip)[0]) == 3
    found = decode(prediction, points, sizes, clip=clip, drop_empty=True)[0]
    assert found.boxes_xyxy.tolist() == [[20, 4, 28, 12]]


def test_ends_of_size_ranges_may_belong_to_no_level() -> None:
    points = make_points([(16, 16), (8, 8)], [8, 16])
    ranges = ((-1, 36), (36, math.inf))
    # Of the box's center, at 44 px, the farther sides are exactly 36 px away.
    box = Target(torch.tensor([[8.0, 8.0, 80.0, 80.0]]), torch.tensor([0]))
    center = (points.xy == 44).all(dim=1).nonzero().item()
    for ends, label in (("inclusive", 0), ("exclusive", -1)):
        got = assign(points, [box], ranges, center_radius=None, range_ends=ends)
        assert got.labels[0, center] == label
    beside = (points.xy == torch.tensor([44.0, 52.0])).all(dim=1).nonzero().item()
    finer = assign(points, [box], ((-1, 50), (50, math.inf)), None, range_ends="exclusive")
    assert finer.labels[0, beside] == 0


def test_points_spread_over_the_image() -> None:
    sizes = [(100, 167), (13, 21), (7, 11)]
    points = make_points(sizes, [8, 64, 128], offset=0.0, image_size=(800, 1344))
    steps = [(8, 8), (61, 64), (114, 122)]  # image // map, as torchvision's AnchorGenerator
    for xy, (height, width), (down, across) in zip(
        torch.split(points.xy, points.per_level), sizes, steps, strict=True
    ):
        assert xy[-1].tolist() == [(width - 1) * across, (height - 1) * down]
    assert points.stride.unique().tolist() == [8, 64, 128]


def test_a_detector_with_points_spread_over_the_image() -> None:
    small = {"backbone": {"name": "tiny", "frozen_stages": 0}, "fpn": {"levels": [3, 4, 5, 6]}}
    usual = build_fcos(num_classes=1, point_offset=0.0, **small)
    spread = build_fcos(num_classes=1, point_offset=0.0, point_spacing="image", **small)
    assert usual.grid((160, 64)).xy.amax().item() == 152
    finest, coarsest = spread.grid((160, 64)).xy[0], spread.grid((160, 64)).xy[-1]
    assert finest.tolist() == [0, 0] and coarsest.tolist() == [0, 160 // 3 * 2]
    assert spread.spec["grid"]["spacing"] == "image"
    with pytest.raises(UserError, match=r"grid\.spacing=grid: give one of"):
        build_fcos(num_classes=1, point_spacing="grid", **small)
