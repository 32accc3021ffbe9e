"""Dynamic soft label assignment against a plain loop."""

import math
from dataclasses import dataclass

import pytest
import torch
from tests.detector.assigners.predicted_scenes import (
    CLASSES,
    Unsure,
    each_way,
    inside,
    plain_iou,
    points_of,
    predicted_box,
    scene,
    surely_less,
)

from fcos_lightning import Target
from fcos_lightning.detector.assigners import dsla
from fcos_lightning.detector.assigners.dsla import DSLAAssigner
from fcos_lightning.errors import UserError
from fcos_lightning.structures import Points, Prediction, Targets, on_device


@dataclass
class Claim:
    cost: float
    overlap: float
    alone: bool


def cross_entropy(logit: float, goal: float) -> float:
    return math.log1p(math.exp(-abs(logit))) + max(logit, 0.0) - goal * logit


def plain(
    points: Points, target: Target, prediction: Prediction, image: int, assigner: DSLAAssigner
) -> dict[int, dict[int, Claim]]:
    """What claims each point, of all points, however far from a box."""
    xy, strides = points.xy.double().tolist(), points.stride.double().tolist()
    logits = prediction.cls_logits[image].double().tolist()
    ltrbs = prediction.ltrb_px[image].double().tolist()
    boxes = target.boxes_xyxy.double().tolist()
    candidates = [p for p, at in enumerate(xy) if any(inside(*at, box) for box in boxes)]
    claims: dict[int, dict[int, Claim]] = {}
    for index, box in enumerate(boxes):
        if box[0] >= box[2] or box[1] >= box[3]:
            continue
        cx, cy = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        alone = not any(inside(*xy[point], box) for point in candidates)
        mine = candidates
        if alone:
            away = sorted((math.hypot(x - cx, y - cy), point) for point, (x, y) in enumerate(xy))
            surely_less(away[0][0], away[1][0])
            mine = [away[0][1]]
        costs, overlaps = [], []
        for point in mine:
            x, y = xy[point]
            overlap = plain_iou(predicted_box(x, y, ltrbs[point]), box)
            cost = 10 ** (math.hypot(x - cx, y - cy) / strides[point] - assigner.soft_radius)
            cost -= assigner.iou_weight * math.log(overlap + 1e-7)
            for label, logit in enumerate(logits[point]):
                goal = overlap if label == target.labels[index] else 0.0
                off = goal - 1 / (1 + math.exp(-logit))
                cost += cross_entropy(logit, goal) * off**2
            costs.append((cost, point, overlap))
            overlaps.append(overlap)
        best = sum(sorted(overlaps, reverse=True)[: assigner.topk])
        if abs(best - round(best)) < 1e-5 and round(best) > 1:
            raise Unsure
        takes = max(int(best), 1)
        costs.sort()
        if len(costs) > takes:
            surely_less(costs[takes - 1][0], costs[takes][0])
        for cost, point, overlap in costs[:takes]:
            claims.setdefault(point, {})[index] = Claim(cost, overlap, alone)
    return claims


def first_of(claims: dict[int, Claim]) -> int:
    ordered = sorted(claims, key=lambda index: (not claims[index].alone, claims[index].cost))
    if len(ordered) > 1 and claims[ordered[0]].alone == claims[ordered[1]].alone:
        surely_less(claims[ordered[0]].cost, claims[ordered[1]].cost)
    return ordered[0]


@pytest.mark.parametrize(
    ("options", "size"), [({}, 50.0), ({}, 9.0), ({"topk": 5, "iou_weight": 1.0}, 50.0)]
)
@each_way
def test_two_hundred_scenes_as_a_plain_loop_has_them(
    options: dict[str, float], size: float, known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not known:
        monkeypatch.setattr(on_device, "_KNOWN_AT_ONCE", ())
    assigner = DSLAAssigner(**options)  # type: ignore[arg-type]
    compared = ambiguous = alone = many = 0
    for seed in range(100):
        points, targets, prediction = scene(seed, size=size)
        found = assigner(points, targets, prediction)
        assert found.weight is not None and found.ignored is None
        for image, target in enumerate(targets):
            try:
                claims = plain(points, target, prediction, image, assigner)
                owner = {point: first_of(of) for point, of in claims.items()}
            except Unsure:
                continue
            compared += 1
            ambiguous += sum(len(of) > 1 for of in claims.values())
            alone += sum(of[owner[point]].alone for point, of in claims.items())
            many += len(owner) > 2 * len(target.labels)
            count = len(points.xy)
            wanted = [owner.get(point, -1) for point in range(count)]
            assert found.matched[image].tolist() == wanted
            assert found.claims[image].tolist() == [len(claims.get(p, {})) for p in range(count)]
            expected = [claims[p][owner[p]].overlap if p in owner else 0.0 for p in range(count)]
            assert found.weight[image].tolist() == pytest.approx(expected, rel=1e-4, abs=1e-6)
            labels = [-1 if box < 0 else int(target.labels[box]) for box in wanted]
            assert found.labels[image].tolist() == labels
    assert compared >= 190 and ambiguous > 5
    assert alone > 100 if size < 10 else many > 20


def test_every_box_with_an_area_has_a_point() -> None:
    """Also the smallest, beside and inside of others; where two are nearest to one, one of them."""
    points = points_of()
    count = len(points.xy)
    large, tiny = [4.0, 4, 60, 60], [24.5, 24.5, 26.0, 26.0]
    prediction = Prediction(torch.zeros(1, count, 1), torch.full((1, count, 4), 25.0))
    targets = [Target(torch.tensor([large, tiny]), torch.tensor([0, 0]))]
    found = DSLAAssigner()(points, targets, prediction)
    assert found.matched.unique().tolist() == [-1, 0, 1]
    nearest = (points.xy - 25.25).square().sum(dim=1).argmin()
    assert found.matched[0, nearest] == 1 and (found.matched == 1).sum() == 1
    # From the nearest point, the tiny box lies on one side.
    assert (found.ltrb_px[0, nearest] < 0).any()


def test_what_background_costs_is_summed_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    logits = torch.randn(2, 13, 5) * 3
    asked = torch.rand(2, 13) < 0.6
    plain_sum = torch.nn.functional.softplus(logits) * logits.sigmoid().square()
    for size in (1, 5, 1000):
        monkeypatch.setattr(dsla, "_PIECE", size)
        found = dsla._background(logits, asked)
        torch.testing.assert_close(found[asked], plain_sum.sum(dim=-1)[asked])


def test_boxes_of_no_size_no_boxes_and_predictions_without_area() -> None:
    points, _, prediction = scene(1)
    flat = torch.tensor([[12.0, 12, 12, 12], [4, 4, 4, 60]])
    none = Target(torch.zeros(0, 4), torch.zeros(0).long())
    found = DSLAAssigner()(points, [Target(flat, torch.zeros(2).long()), none], prediction)
    assert not found.positive.any() and found.weight is not None and not found.weight.any()
    empty = Prediction(prediction.cls_logits, torch.zeros_like(prediction.ltrb_px))
    box = Target(torch.tensor([[8.0, 8, 40, 40]]), torch.tensor([0]))
    found = DSLAAssigner()(points, Targets.stack([box, none]), empty)
    # Nothing overlaps it: it takes the one point that costs it least, of which nothing is asked.
    assert found.positive.sum() == 1 and found.weight is not None and not found.weight.any()


def test_farther_than_its_reach_it_would_not_choose_anyway() -> None:
    points = points_of(192, 256)
    random = torch.Generator().manual_seed(0)
    count = len(points.xy)
    logits = torch.randn(1, count, CLASSES, generator=random)
    prediction = Prediction(logits, torch.rand(1, count, 4, generator=random) * 80)
    start = torch.rand(20, 2, generator=random) * 150
    boxes = torch.cat([start, start + 10 + torch.rand(20, 2, generator=random) * 90], dim=1)
    targets = [Target(boxes, torch.arange(20) % CLASSES)]
    near = DSLAAssigner()(points, targets, prediction)
    far = DSLAAssigner(reach=100)(points, targets, prediction)
    assert torch.equal(near.matched, far.matched) and near.positive.sum() > 60


def test_what_it_needs_and_what_it_refuses() -> None:
    points, targets, _ = scene(2)
    assert DSLAAssigner.needs_prediction
    with pytest.raises(ValueError, match="looks at the prediction"):
        DSLAAssigner()(points, targets)
    for options in ({"topk": 0}, {"iou_weight": -1.0}, {"reach": -1}):
        with pytest.raises(UserError, match=r"model\.assigner\..*: give [01] or more"):
            DSLAAssigner(**options)  # type: ignore[arg-type]
