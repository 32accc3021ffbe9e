"""CenterNet's centers and radii against a plain loop, and against mmdetection's."""

import json
import math
from pathlib import Path

import pytest
import torch
from tests.detector.assigners.scenes import scene

from fcos_lightning.detector import Grid
from fcos_lightning.detector.assigners.centernet import CenterNetAssigner, gaussian_radius
from fcos_lightning.errors import UserError

GRID = Grid((4,))
SIZE = (32, 44)
RECORDED = json.loads((Path(__file__).parents[1] / "recorded" / "centernet.json").read_text())


def check(seed: int) -> int:
    """Hold a scene against a loop over the boxes; return how many cells were two boxes'."""
    points, targets = GRID(SIZE), scene(seed, SIZE)
    found = CenterNetAssigner()(points, targets)
    shared = 0
    for image, target in enumerate(targets):
        boxes, labels = target.boxes_xyxy.double().tolist(), target.labels.tolist()
        of_cell: dict[int, list[tuple[float, int]]] = {}
        for box, (x1, y1, x2, y2) in enumerate(boxes):
            if x2 <= x1 or y2 <= y1:
                continue
            column = min(max(math.floor((x1 + x2) / 2 / 4), 0), 10)
            row = min(max(math.floor((y1 + y2) / 2 / 4), 0), 7)
            of_cell.setdefault(row * 11 + column, []).append(((x2 - x1) * (y2 - y1), box))
        assert found.positive[image].nonzero().flatten().tolist() == sorted(of_cell)
        for point, claims in of_cell.items():
            place = (image, point)
            _, box = min(claims)
            x, y = points.xy[point].double().tolist()
            x1, y1, x2, y2 = boxes[box]
            assert found.matched[place] == box and found.labels[place] == labels[box]
            assert found.claims[place] == len(claims)
            wanted = [x - x1, y - y1, x2 - x, y2 - y]
            assert found.ltrb_px[place].tolist() == pytest.approx(wanted, abs=1e-4)
            shared += len(claims) > 1
        # What the boxes themselves want stands beside, in whatever order.
        real = found.box_labels[image] >= 0
        told = torch.stack([found.point_of_box[image, real], found.box_labels[image, real]], dim=1)
        pairs = [[point, labels[box]] for point, rows in of_cell.items() for _, box in rows]
        assert sorted(told.tolist()) == sorted(pairs)
        for box_px, radius in zip(found.boxes_xyxy[image], found.radius[image], strict=True):
            width, height = ((box_px[2:] - box_px[:2]).double() / 4).tolist()
            if width > 0 and height > 0:
                plain = plain_radius(width, height)
                # Within rounding of a whole number it may be cut to either.
                assert float(radius) in {math.floor(plain - 1e-4), math.floor(plain + 1e-4)}
    return shared


def plain_radius(width: float, height: float, overlap: float = 0.7) -> float:
    """By bisection: the largest shift of two corners that keeps the overlap, whichever way."""

    def least(r: float) -> float:
        area = width * height
        both = max(width - r, 0) * max(height - r, 0)
        inside = max(width - 2 * r, 0) * max(height - 2 * r, 0) / area
        return min(both / (2 * area - both), inside, area / ((width + 2 * r) * (height + 2 * r)))

    low, high = 0.0, width + height
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if least(middle) >= overlap else (low, middle)
    return low


def test_two_hundred_scenes_as_a_plain_loop_has_them() -> None:
    assert sum(check(seed) for seed in range(200)) > 20


def test_the_radii_are_mmdetections() -> None:
    for width, height, overlap, radius in RECORDED["radii"]:
        ours = gaussian_radius(torch.tensor([width, height], dtype=torch.float64), overlap)
        assert ours.item() == math.floor(radius)


@pytest.mark.parametrize("overlap", [0.0, 1.0])
def test_an_overlap_that_is_none(overlap: float) -> None:
    with pytest.raises(UserError, match="give a number between 0 and 1"):
        CenterNetAssigner(overlap)


def test_several_levels_are_refused() -> None:
    with pytest.raises(UserError, match=r"centernet: it has one level.*model\.fpn\.only=2"):
        CenterNetAssigner().check((8, 16))
