"""Boxes to ignore, against a loop over points and boxes, for every method there is."""

from __future__ import annotations

import random

import pytest
import torch

from fcos_lightning import Target
from fcos_lightning.detector import DenseDetector
from fcos_lightning.runs.config.composed import composed, config_dir
from fcos_lightning.runs.objects.instantiate import make
from fcos_lightning.structures import Images, Targets

METHODS = sorted(file.stem for file in (config_dir() / "method").glob("*.yaml"))


def detector_of(method: str) -> DenseDetector:
    torch.manual_seed(0)
    with composed("train", [f"method={method}", "model=tiny"]) as config:
        detector = make(config, "model", class_names=["a", "b", "c"])
    assert isinstance(detector, DenseDetector)
    return detector


def some_box(chance: random.Random) -> list[float]:
    # Whole and half strides, so that points lie on edges too.
    x1, y1 = chance.randrange(0, 24) * 4, chance.randrange(0, 24) * 4
    return [x1, y1, x1 + chance.randrange(1, 12) * 4, y1 + chance.randrange(1, 12) * 4]


def some_target(chance: random.Random) -> Target:
    boxes = [some_box(chance) for _ in range(chance.choice([0, 1, 3]))]
    ignored = [some_box(chance) for _ in range(chance.choice([0, 1, 2, 5]))]
    return Target(
        torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        torch.tensor([chance.randrange(3) for _ in boxes], dtype=torch.int64),
        torch.tensor(ignored, dtype=torch.float32).reshape(-1, 4) if ignored else None,
    )


@pytest.mark.parametrize("method", METHODS)
def test_points_in_ignored_boxes_cost_nothing_and_no_others_change(method: str) -> None:
    detector = detector_of(method)
    chance = random.Random(method)
    images = Images.pad([torch.zeros(3, 128, 128, dtype=torch.uint8)] * 4, 32)
    points = detector.grid(images)
    targets = [some_target(chance) for _ in range(4)]
    targets[0] = Target(
        torch.tensor([[8.0, 8, 60, 60]]), torch.tensor([1]), torch.tensor([[0.0, 0, 128, 100]])
    )
    prediction = detector(images)
    prediction.cls_logits.retain_grad()
    with_ignored = detector.assign(points, Targets.stack(targets), prediction)
    plain = [Target(one.boxes_xyxy, one.labels) for one in targets]
    without = detector.assign(points, Targets.stack(plain), prediction)

    for name in ("labels", "ltrb_px", "matched", "claims"):
        assert torch.equal(getattr(with_ignored, name), getattr(without, name))
    assert with_ignored.ignored is not None
    found = with_ignored.ignored.tolist()
    before = None if without.ignored is None else without.ignored.tolist()
    places = points.xy.tolist()
    for image, target in enumerate(targets):
        boxes = [] if target.ignored_xyxy is None else target.ignored_xyxy.tolist()
        for point, (x, y) in enumerate(places):
            inside = any(x1 < x < x2 and y1 < y < y2 for x1, y1, x2, y2 in boxes)
            background = int(without.labels[image, point]) < 0
            expected = (inside and background) or (before is not None and before[image][point])
            assert found[image][point] == expected, (image, point)

    detector.loss(prediction, with_ignored, points).total.backward()
    gradient = prediction.cls_logits.grad
    assert gradient is not None
    assert (gradient[with_ignored.ignored] == 0).all()
    assert (gradient[~with_ignored.ignored & ~with_ignored.positive] != 0).any()


def test_targets_one_by_one_and_stacked_are_of_one_mind() -> None:
    detector = detector_of("fcos")
    chance = random.Random(3)
    targets = [some_target(chance) for _ in range(5)]
    points = detector.grid(Images.pad([torch.zeros(3, 96, 96, dtype=torch.uint8)], 32))
    one, other = detector.assign(points, targets), detector.assign(points, Targets.stack(targets))
    assert one.ignored is not None and other.ignored is not None
    assert torch.equal(one.ignored, other.ignored)


def test_without_ignored_boxes_nothing_is_added() -> None:
    targets = Targets.stack([Target(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))] * 2)
    assert targets.ignored_xyxy is None
    detector = detector_of("fcos")
    points = detector.grid(Images.pad([torch.zeros(3, 64, 64, dtype=torch.uint8)], 32))
    assert detector.assign(points, targets).ignored is None


def test_ignored_boxes_have_four_sides() -> None:
    with pytest.raises(ValueError, match="ignored_xyxy"):
        Target(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), torch.zeros(2, 3))
