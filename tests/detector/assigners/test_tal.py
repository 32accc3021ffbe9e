"""Task-aligned assignment against a plain loop."""

import math
from dataclasses import replace

import pytest
import torch
from tests.detector.assigners.predicted_scenes import (
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
from fcos_lightning.detector.assigners import pairs
from fcos_lightning.detector.assigners.tal import TALAssigner
from fcos_lightning.errors import UserError
from fcos_lightning.structures import Points, Prediction, Targets, on_device

Claim = tuple[float, float]  # t and overlap


def plain(
    points: Points, target: Target, prediction: Prediction, image: int, assigner: TALAssigner
) -> tuple[dict[int, dict[int, Claim]], dict[int, int], dict[int, float]]:
    """What claims each point, which box gets it, and its weight."""
    xy = points.xy.double().tolist()
    logits = prediction.cls_logits[image].double().tolist()
    ltrbs = prediction.ltrb_px[image].double().tolist()
    claims: dict[int, dict[int, Claim]] = {}
    for index, box in enumerate(target.boxes_xyxy.double().tolist()):
        label = int(target.labels[index])
        aligned = []
        for point, (x, y) in enumerate(xy):
            if inside(x, y, box):
                overlap = plain_iou(predicted_box(x, y, ltrbs[point]), box)
                score = 1 / (1 + math.exp(-logits[point][label]))
                t = score**assigner.class_power * overlap**assigner.iou_power
                aligned.append((t, overlap, point))
        aligned.sort(reverse=True)
        if len(aligned) > assigner.topk and aligned[assigner.topk][0] > 0:
            last, next_one = aligned[assigner.topk - 1][0], aligned[assigner.topk][0]
            surely_less(math.log(next_one), math.log(last))
        for t, overlap, point in aligned[: assigner.topk]:
            if t > 0:
                claims.setdefault(point, {})[index] = (t, overlap)
    owner = {}
    for point, of in claims.items():
        ordered = sorted(of, key=lambda index: -of[index][1])
        if len(ordered) > 1:
            surely_less(of[ordered[1]][1], of[ordered[0]][1])
        owner[point] = ordered[0]
    weight = {}
    for point, index in owner.items():
        its = [claims[other][index] for other, box in owner.items() if box == index]
        most_t, most_overlap = max(t for t, _ in its), max(overlap for _, overlap in its)
        weight[point] = claims[point][index][0] / most_t * most_overlap
    return claims, owner, weight


@pytest.mark.parametrize("options", [{}, {"topk": 4, "class_power": 0.5, "iou_power": 2.0}])
@each_way
def test_two_hundred_scenes_as_a_plain_loop_has_them(
    options: dict[str, float], known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not known:
        monkeypatch.setattr(on_device, "_KNOWN_AT_ONCE", ())
    assigner = TALAssigner(**options)  # type: ignore[arg-type]
    compared = ambiguous = 0
    for seed in range(100):
        points, targets, prediction = scene(seed)
        found = assigner(points, targets, prediction)
        assert found.weight is not None and found.ignored is None
        for image, target in enumerate(targets):
            try:
                claims, owner, weight = plain(points, target, prediction, image, assigner)
            except Unsure:
                continue
            compared += 1
            count = len(points.xy)
            ambiguous += sum(len(of) > 1 for of in claims.values())
            wanted = [owner.get(point, -1) for point in range(count)]
            assert found.matched[image].tolist() == wanted
            assert found.claims[image].tolist() == [len(claims.get(p, {})) for p in range(count)]
            expected = [weight.get(point, 0.0) for point in range(count)]
            assert found.weight[image].tolist() == pytest.approx(expected, rel=1e-4, abs=1e-6)
            labels = [-1 if box < 0 else int(target.labels[box]) for box in wanted]
            assert found.labels[image].tolist() == labels
    assert compared >= 190 and ambiguous > 20


@each_way
def test_pieces_of_pairs_are_the_whole(known: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not known:
        monkeypatch.setattr(on_device, "_KNOWN_AT_ONCE", ())
    points, targets, prediction = scene(5, most=9)
    assert max(len(target.labels) for target in targets) > 3
    whole = TALAssigner()(points, targets, prediction)
    for together in (1, 2 * len(points.xy), 3 * len(points.xy) + 5):
        monkeypatch.setitem(pairs._PAIRS, "cpu", together)
        pieces = TALAssigner()(points, targets, prediction)
        assert torch.equal(pieces.matched, whole.matched)
        torch.testing.assert_close(pieces.weight, whole.weight, rtol=1e-6, atol=0)


@pytest.mark.parametrize("per_cell", [1, 3])
def test_points_inside_of_boxes_are_all_that_are_and_no_others(
    per_cell: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = points_of()
    points = replace(
        points,
        xy=points.xy.repeat_interleave(per_cell, dim=0),
        stride=points.stride.repeat_interleave(per_cell),
        per_cell=per_cell,
    )
    random = torch.Generator().manual_seed(0)
    start = (torch.rand(60, 2, generator=random) * 80 - 10).round()  # some on points
    boxes = torch.cat([start, start + (torch.rand(60, 2, generator=random) * 40).round()], dim=1)
    valid = torch.arange(60) % 5 > 0
    x, y = points.xy.unbind(1)
    x1, y1, x2, y2 = (side[:, None] for side in boxes.unbind(1))
    wanted = (x > x1) & (x < x2) & (y > y1) & (y < y2) & valid[:, None]
    assert wanted.any(dim=1).sum() > 20 and not wanted.any(dim=1).all()
    for together in (1, 100, 10**6):
        monkeypatch.setitem(pairs._PAIRS, "cpu", together)
        found = torch.zeros(wanted.shape, dtype=torch.int64)
        for box, point, real in pairs.pairs_inside(points, boxes, valid):
            found[box[:, None].expand_as(point)[real], point[real]] += 1
        assert torch.equal(found, wanted.long())


def test_a_small_box_beside_a_better_one_has_its_points() -> None:
    """Its points are taken inside of it first: elsewhere many overlap it more."""
    points = points_of()
    small = torch.tensor([33.0, 33.0, 39.0, 39.0])
    ltrb_px = torch.cat([points.xy - small[:2], small[2:] - points.xy], dim=1).clamp(min=0.1)
    held = ((points.xy > small[:2]) & (points.xy < small[2:])).all(dim=1)
    assert held.sum() == 1
    ltrb_px[held] = 9.0  # the only point inside predicts it worst
    prediction = Prediction(torch.zeros(1, len(points.xy), 1), ltrb_px[None])
    found = TALAssigner()(points, [Target(small[None], torch.tensor([0]))], prediction)
    assert torch.equal(found.positive[0], held)


def test_overlaps_too_small_for_their_sixth_power_are_still_told_apart() -> None:
    points = points_of()
    box = Target(torch.tensor([[0.0, 0, 80, 64]]), torch.tensor([0]))
    ltrb_px = torch.full((1, len(points.xy), 4), 0.01)
    ltrb_px[0, 7] = 0.02
    logits = torch.full((1, len(points.xy), 1), -20.0)  # t is beyond what float32 can hold
    found = TALAssigner()(points, [box], Prediction(logits, ltrb_px))
    assert found.positive[0, 7] and found.weight is not None and found.positive.sum() == 13
    assert found.weight[0, 7] == found.weight.max() > 0 and found.weight.isfinite().all()


def test_boxes_of_no_size_no_boxes_and_predictions_without_area() -> None:
    points, _, prediction = scene(1)
    flat = torch.tensor([[12.0, 12, 12, 12], [4, 4, 4, 60]])
    none = Target(torch.zeros(0, 4), torch.zeros(0).long())
    found = TALAssigner()(points, [Target(flat, torch.zeros(2).long()), none], prediction)
    assert not found.positive.any() and found.weight is not None and not found.weight.any()
    empty = replace(prediction, ltrb_px=torch.zeros_like(prediction.ltrb_px))
    box = Target(torch.tensor([[8.0, 8, 40, 40]]), torch.tensor([0]))
    found = TALAssigner()(points, Targets.stack([box, none]), empty)
    assert not found.positive.any() and found.weight is not None and found.weight.isfinite().all()


def test_what_it_needs_and_what_it_refuses() -> None:
    points, targets, _ = scene(2)
    assert TALAssigner.needs_prediction
    with pytest.raises(ValueError, match="looks at the prediction"):
        TALAssigner()(points, targets)
    for options in ({"topk": 0}, {"iou_power": -1.0}, {"class_power": -0.5}):
        with pytest.raises(UserError, match=r"model\.assigner\..*: give [01] or more"):
            TALAssigner(**options)  # type: ignore[arg-type]
