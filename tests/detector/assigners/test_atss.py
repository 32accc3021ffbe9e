"""ATSS against a plain loop, and what its pieces promise."""

import math

import pytest
import torch
from tests.detector.assigners.predicted_scenes import (
    Unsure,
    inside,
    plain_iou,
    points_of,
    scene,
    surely_less,
)

from fcos_lightning import Target
from fcos_lightning.detector import make_points
from fcos_lightning.detector.assigners.atss import ATSSAssigner, nearest_on_grid
from fcos_lightning.detector.grid import Grid
from fcos_lightning.errors import UserError
from fcos_lightning.structures import Points, Targets


def plain(points: Points, target: Target, per_level: int, square: float) -> dict[int, list[int]]:
    """The boxes that claim each point, the one that gets it first."""
    xy, strides = points.xy.double().tolist(), points.stride.double().tolist()
    overlap_of_claim: dict[int, dict[int, float]] = {}
    for box_index, box in enumerate(target.boxes_xyxy.double().tolist()):
        cx, cy = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        candidates, first = [], 0
        for number in points.per_level:
            places = range(first, first + number)
            first += number
            away = sorted((math.hypot(xy[p][0] - cx, xy[p][1] - cy), p) for p in places)
            candidates += [point for _, point in away[:per_level]]
            if len(away) > per_level:
                surely_less(away[per_level - 1][0], away[per_level][0])
        overlaps = []
        for point in candidates:
            (x, y), half = xy[point], strides[point] * square / 2
            overlaps.append(plain_iou([x - half, y - half, x + half, y + half], box))
        mean = sum(overlaps) / len(overlaps)
        spread = sum((one - mean) ** 2 for one in overlaps) / (len(overlaps) - 1)
        for point, overlap in zip(candidates, overlaps, strict=True):
            enough = not surely_less(overlap, mean + math.sqrt(spread))
            if enough and inside(*xy[point], box):
                overlap_of_claim.setdefault(point, {})[box_index] = overlap
    ordered = {}
    for point, claims in overlap_of_claim.items():
        boxes = sorted(claims, key=lambda box: -claims[box])
        if len(boxes) > 1:
            surely_less(claims[boxes[1]], claims[boxes[0]])
        ordered[point] = boxes
    return ordered


@pytest.mark.parametrize(("per_level", "square"), [(9, 8.0), (4, 5.0)])
def test_two_hundred_scenes_as_a_plain_loop_has_them(per_level: int, square: float) -> None:
    compared = ambiguous = 0
    for seed in range(100):
        points, targets, _ = scene(seed)
        found = ATSSAssigner(per_level, square)(points, targets)
        for image, target in enumerate(targets):
            try:
                wanted = plain(points, target, per_level, square)
            except Unsure:
                continue
            compared += 1
            for point in range(len(points.xy)):
                boxes = wanted.get(point, [])
                place = (image, point)
                assert found.claims[place] == len(boxes)
                assert found.matched[place] == (boxes[0] if boxes else -1)
                assert found.labels[place] == (target.labels[boxes[0]] if boxes else -1)
                ambiguous += len(boxes) > 1
                if boxes:
                    (x, y), box = points.xy[point].tolist(), target.boxes_xyxy[boxes[0]].tolist()
                    ltrb = [x - box[0], y - box[1], box[2] - x, box[3] - y]
                    assert found.ltrb_px[place].tolist() == pytest.approx(ltrb, abs=1e-4)
                else:
                    assert (found.ltrb_px[place] == 0).all()
        assert found.weight is None and found.ignored is None
    assert compared >= 190 and ambiguous > 20


@pytest.mark.parametrize("count", [1, 2, 5, 9, 40])
@pytest.mark.parametrize("size", [(1, 1), (1, 7), (6, 2), (9, 11)])
def test_the_nearest_points_of_a_grid(count: int, size: tuple[int, int]) -> None:
    xy = make_points([size], [8]).xy
    # Places all over, also on points and between them, where many are equally near.
    places = torch.cat([torch.rand(40, 2) * 100 - 6, torch.randint(0, 24, (60, 2)) * 4.0])
    found = nearest_on_grid(xy.view(*size, 2), places, count)
    for place, indices in zip(places.double(), found, strict=True):
        away = (xy.double() - place).square().sum(dim=1).tolist()
        order = sorted(range(len(away)), key=lambda index: (away[index], index))
        assert indices.tolist() == order[:count]


def test_where_all_overlaps_are_alike_all_inside_are_positive() -> None:
    # The box lies in every square and so overlaps each by the same; their mean may be off.
    for side in (16.1, 20.3, 23.7):
        box = torch.tensor([[40 - side / 2, 40 - side / 2, 40 + side / 2, 40 + side / 2]])
        points = make_points([(10, 10)], [8])
        found = ATSSAssigner()(points, [Target(box, torch.tensor([0]))])
        held = ((points.xy - 40).abs() < side / 2).all(dim=1)
        assert torch.equal(found.positive[0], held) and held.sum() == 4


def test_a_single_candidate_is_its_own_threshold() -> None:
    box = Target(torch.tensor([[1.0, 1, 7, 7]]), torch.tensor([2]))
    found = ATSSAssigner()(make_points([(1, 1)], [8]), [box])
    assert found.labels.tolist() == [[2]]


def test_boxes_of_no_size_and_padding_claim_nothing() -> None:
    boxes = torch.tensor([[12.0, 12, 12, 12], [4, 4, 4, 60], [4, 20, 60, 20]])
    found = ATSSAssigner()(points_of(), [Target(boxes, torch.zeros(3).long())])
    assert not found.positive.any() and not found.claims.any()
    none = Target(torch.zeros(0, 4), torch.zeros(0).long())
    one = Target(torch.tensor([[8.0, 8, 40, 40]]), torch.tensor([0]))
    together = ATSSAssigner()(points_of(), Targets.stack([none, one]))
    assert not together.positive[0].any() and together.positive[1].any()


def test_anchors_and_numbers_out_of_range_are_refused() -> None:
    anchors = Grid((8, 16), anchor_scales=(2.0, 3.0), anchor_ratios=(1.0,))
    with pytest.raises(ValueError, match="no anchors"):
        ATSSAssigner()(anchors((40, 56)), scene(1)[1])
    for options, said in (({"per_level": 0}, "per_level=0: give 1"), ({"square": 0.0}, "above 0")):
        with pytest.raises(UserError, match=said):
            ATSSAssigner(**options)  # type: ignore[arg-type]
