"""Claims against a loop over points and boxes, and against what each assigner counts."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from tests.explanation.scenes import METHODS, crowded, small_detector

from fcos_lightning.data.augment import Augmentation, ShorterSide
from fcos_lightning.detector.assigners.fcos import FCOSAssigner
from fcos_lightning.detector.grid import Grid
from fcos_lightning.explanation.mapping import LabelMapping, Mapped
from fcos_lightning.explanation.sizes import at_size
from fcos_lightning.structures import Assignment, Images, Points, Prediction, Target


def naive_claims(mapping: LabelMapping, target: Target, size_hw: tuple[int, int]) -> list[tuple]:
    """FCOS's rule word by word (paper, section 3): for each point, which boxes may have it."""
    points = mapping.points(size_hw)
    assigner = mapping.assigner
    assert isinstance(assigner, FCOSAssigner)
    ranges = assigner.ranges(points.strides)
    found, first = [], 0
    for level, count in enumerate(points.per_level):
        for point in range(first, first + count):
            x, y = points.xy[point].tolist()
            for box, (x1, y1, x2, y2) in enumerate(target.boxes_xyxy.tolist()):
                sides = (x - x1, y - y1, x2 - x, y2 - y)
                inside = min(sides) > 0
                if assigner.center_radius is not None:
                    reach = assigner.center_radius * points.strides[level]
                    near = max(abs(x - (x1 + x2) / 2), abs(y - (y1 + y2) / 2)) < reach
                    inside = inside and near
                low, high = ranges[level]
                if inside and low <= max(sides) <= high:
                    found.append((point, box))
        first += count
    return found


@pytest.mark.parametrize("radius", [None, 1.5])
@pytest.mark.parametrize("seed", range(4))
def test_fcos_claims_are_those_of_a_loop(radius: float | None, seed: int) -> None:
    ranges = ((-1.0, 32.0), (32.0, 64.0), (64.0, math.inf))
    mapping = LabelMapping(Grid((8, 16, 32)), FCOSAssigner(ranges, radius), 32)
    target = crowded(seed, boxes=12)
    mapped = mapping(target, (120, 100))
    claims = naive_claims(mapping, target, (120, 100))
    assert list(zip(mapped.claim_point.tolist(), mapped.claim_box.tolist(), strict=True)) == claims
    areas = (target.boxes_xyxy[:, 2:] - target.boxes_xyxy[:, :2]).prod(dim=1).tolist()
    smallest = {}
    for point, box in claims:
        smallest[point] = min(smallest.get(point, box), box, key=lambda one: (areas[one], one))
    assert dict(zip(mapped.positive.tolist(), mapped.box.tolist(), strict=True)) == smallest
    assert mapped.complete and len(claims) >= len(smallest) > 10


@pytest.mark.parametrize("method", METHODS)
def test_every_method_tells_all_claims(method: str) -> None:
    """A point has as many claimants as its assigner counts, and its box is one of them."""
    detector = small_detector(method)
    mapping = LabelMapping(detector.grid, detector.assigner, detector.size_multiple)
    several = 0
    for seed in range(3):
        torch.manual_seed(seed)
        pixels = torch.randint(0, 256, (3, 120, 128), dtype=torch.uint8)
        prediction = detector.predict([pixels]) if detector.assigner.needs_prediction else None
        target = crowded(seed, boxes=14)
        mapped = mapping(target, (120, 128), prediction)
        assert mapped.complete
        pairs = set(zip(mapped.claim_point.tolist(), mapped.claim_box.tolist(), strict=True))
        owned = list(zip(mapped.positive.tolist(), mapped.box.tolist(), strict=True))
        assert owned
        # The best anchor of a box may answer for another, which overlaps it more.
        assert method == "retinanet" or set(owned) <= pairs
        images = Images.pad([pixels], detector.size_multiple, detector.pad_beyond)
        whole = detector.assign(detector.grid(images), [target], prediction)
        assert torch.equal(whole.matched[0, mapped.positive], mapped.box)
        assert int(whole.positive.sum()) == len(mapped.positive)
        assert torch.equal(whole.claims[0], mapped.claimants())
        several += int((mapped.claimants() > 1).sum())
    assert several > 0 or method == "centernet"


def test_an_image_without_boxes_has_no_claims() -> None:
    mapping = LabelMapping(Grid((8, 16)), FCOSAssigner(), 16)
    mapped = mapping(crowded(0, boxes=0), (40, 50))
    assert len(mapped.positive) == len(mapped.claim_point) == 0 and mapped.complete
    assert mapped.points.per_level == [6 * 8, 3 * 4]


def test_boxes_to_ignore_leave_points_out() -> None:
    mapping = LabelMapping(Grid((8,)), FCOSAssigner(), 8)
    target = Target(
        torch.tensor([[0.0, 0, 16, 16]]), torch.tensor([0]), torch.tensor([[0.0, 0, 64, 8]])
    )
    assert mapping(target, (64, 64)).ignored == 8 - 2  # but for those that are positive


def test_claims_that_depend_on_each_other_and_are_not_told_are_noticed() -> None:
    class Jealous(FCOSAssigner):
        """Gives nothing to an image with several boxes."""

        def __call__(
            self, points: Points, targets: Any, prediction: Prediction | None = None
        ) -> Assignment:
            if not isinstance(targets, list) or len(targets[0].labels) < 2:
                return super().__call__(points, targets, prediction)
            return super().__call__(points, [Target(torch.zeros(0, 4), torch.zeros(0).long())])

    target = Target(torch.tensor([[0.0, 0, 32, 32], [32, 32, 60, 60]]), torch.tensor([0, 0]))
    mapped: Mapped = LabelMapping(Grid((8,)), Jealous(), 8)(target, (64, 64))
    assert not mapped.complete


@pytest.mark.parametrize("seed", range(30))
def test_boxes_without_an_image_are_those_of_the_augmentation(seed: int) -> None:
    rng = np.random.default_rng(seed)
    height, width = rng.integers(20, 400, 2).tolist()
    corner = rng.random((20, 2)) * (width, height) - 3
    boxes = np.concatenate([corner, corner + rng.random((20, 2)) ** 4 * (width, height)], axis=1)
    boxes = boxes[(boxes[:, :2] < (width, height)).all(axis=1) & (boxes[:, 2:] > 0).all(axis=1)]
    shorter, longer = int(rng.integers(10, 300)), int(rng.integers(200, 500))
    resize = Augmentation([ShorterSide(shorter, longer)])
    labels = np.arange(len(boxes))
    image, expected, rows, _ = resize(np.zeros((height, width, 3), np.uint8), boxes, labels, 0)
    found = at_size(boxes, (height, width), shorter, longer)
    assert found.size_hw == image.shape[:2]
    assert found.rows.tolist() == rows.tolist()
    assert np.array_equal(found.boxes_xyxy.numpy(), expected)


@dataclass(frozen=True)
class OwnGrid(Grid):
    """Of somebody's own, with an option that cannot be hashed."""

    names: dict[str, int] = field(default_factory=dict)


def test_a_grid_that_cannot_be_hashed_gives_its_points() -> None:
    sizes = ((120, 100), (64, 200), (120, 100))
    own, ours = (LabelMapping(kind((8, 16, 32)), FCOSAssigner(), 32) for kind in (OwnGrid, Grid))
    for size in sizes:
        assert torch.equal(own.points(size).xy, ours.points(size).xy)
        padded = tuple(math.ceil(side / 32) * 32 for side in size)
        assert torch.equal(ours.points(size).xy, ours.grid(padded).xy)
