"""The label mapping against the official outputs and against a naive triple loop."""

import math
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from fcos_lightning.detector import assign, make_points
from fcos_lightning.structures import Assignment, Points, Target, Targets

INF = math.inf
Scene = tuple[Points, list[Target], tuple[tuple[float, float], ...], "float | None"]


def target(boxes: Sequence[Sequence[float]], labels: Sequence[int] | None = None) -> Target:
    return Target(
        torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        torch.tensor(range(len(boxes)) if labels is None else labels, dtype=torch.int64),
    )


def oracle(
    points: Points,
    targets: Sequence[Target],
    size_ranges: Sequence[tuple[float, float]],
    center_radius: float | None,
) -> list[list[tuple[int, int, list[float], int]]]:
    """Label, box, distances and claims of each point of each image: three loops, exact numbers."""
    level_of_point = [level for level, n in enumerate(points.per_level) for _ in range(n)]
    result = []
    for image in targets:
        boxes = [[Fraction(side) for side in box] for box in image.boxes_xyxy.tolist()]
        rows = []
        for (px, py), level in zip(points.xy.tolist(), level_of_point, strict=True):
            x, y, stride = Fraction(px), Fraction(py), points.strides[level]
            smallest, largest = size_ranges[level]
            best, best_area, claims = -1, Fraction(0), 0
            for index, (x1, y1, x2, y2) in enumerate(boxes):
                if not (x1 < x < x2 and y1 < y < y2):
                    continue
                if center_radius is not None:
                    reach = Fraction(center_radius) * stride
                    if not abs(x - (x1 + x2) / 2) < reach or not abs(y - (y1 + y2) / 2) < reach:
                        continue
                if not smallest <= max(x - x1, y - y1, x2 - x, y2 - y) <= largest:
                    continue
                claims += 1
                area = (x2 - x1) * (y2 - y1)
                if best < 0 or area < best_area:
                    best, best_area = index, area
            if best < 0:
                rows.append((-1, -1, [0.0] * 4, claims))
            else:
                x1, y1, x2, y2 = boxes[best]
                ltrb = [float(side) for side in (x - x1, y - y1, x2 - x, y2 - y)]
                rows.append((int(image.labels[best]), best, ltrb, claims))
        result.append(rows)
    return result


def assert_equal(assignment: Assignment, expected: list[list[tuple[int, int, list[float], int]]]):  # noqa: ANN201
    labels, matched, ltrb, claims = (
        [[row[part] for row in rows] for rows in expected] for part in range(4)
    )
    assert assignment.labels.tolist() == labels
    assert assignment.matched.tolist() == matched
    assert assignment.claims.tolist() == claims
    assert assignment.ltrb_px.tolist() == ltrb


# Quarters of a pixel are exact in float32, so the code and the fractions must agree to the bit,
# also where a point lies on a border or a distance at the end of a range.
quarters = st.integers(-16, 176).map(lambda number: number / 4)
integers = st.integers(-4, 44).map(float)
# Sides on the lattice of the points: distances at the very ends of the size ranges.
fours = st.integers(-2, 11).map(lambda number: number * 4.0)
NUMBERS = {"quarters": quarters, "integers": integers, "fours": fours}


@st.composite
def boxes_of_an_image(draw: st.DrawFn) -> list[list[float]]:
    boxes: list[list[float]] = []
    for _ in range(draw(st.integers(0, 4))):
        kind = draw(st.sampled_from([*NUMBERS, "fours", "inside", "same", "turn"]))
        if kind in NUMBERS or not boxes:
            number = NUMBERS.get(kind, fours)
            x1, y1, x2, y2 = (draw(number) for _ in range(4))
            # A box of no width or height is drawn too: no point is inside it.
            boxes.append([min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)])
            continue
        x1, y1, x2, y2 = draw(st.sampled_from(boxes))
        if kind == "inside":
            margin = draw(st.sampled_from([0.25, 1.0, 4.0]))
            if min(x2 - x1, y2 - y1) > 2 * margin:
                x1, y1, x2, y2 = x1 + margin, y1 + margin, x2 - margin, y2 - margin
        elif kind == "turn":  # equal area, other shape
            x2, y2 = x1 + (y2 - y1), y1 + (x2 - x1)
        boxes.append([x1, y1, x2, y2])
    return boxes


@st.composite
def scenes(draw: st.DrawFn) -> Scene:
    strides = draw(st.sampled_from([(8, 16), (4, 8, 16), (8,), (8, 8), (6, 10)]))
    height, width = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    sizes = [(math.ceil(height / stride), math.ceil(width / stride)) for stride in strides]
    points = make_points(sizes, strides, draw(st.sampled_from([0.5, 0.5, 0.0, 0.25])))
    kind = draw(st.sampled_from(["paper", "overlapping", "all"]))
    if kind == "paper":
        bounds = [-1.0, *(float(stride) for stride in strides[:-1]), INF]
        ranges = tuple(pairwise(bounds))
    elif kind == "overlapping":
        ranges = tuple((stride / 2, 2.5 * stride) for stride in strides)
    else:
        ranges = ((-1.0, INF),) * len(strides)
    targets = []
    for _ in range(draw(st.integers(1, 3))):
        boxes = draw(boxes_of_an_image())
        labels = draw(st.lists(st.integers(0, 3), min_size=len(boxes), max_size=len(boxes)))
        targets.append(target(boxes, labels))
    return points, targets, ranges, draw(st.sampled_from([None, 0.5, 1.0, 1.5, 2.25]))


@settings(
    max_examples=1000,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(scenes())
def test_a_thousand_scenes_against_three_loops(scene: Scene) -> None:
    points, targets, ranges, radius = scene
    assignment = assign(points, targets, ranges, radius)
    assert_equal(assignment, oracle(points, targets, ranges, radius))
    assert torch.equal(assignment.positive, assignment.claims > 0)


@pytest.mark.parametrize("radius", [None, 1.5])
def test_realistic_scene_with_the_defaults(radius: float | None) -> None:
    generator = torch.Generator().manual_seed(1)
    corner = torch.rand(3, 12, 2, generator=generator) * 200
    size = 4 * 80 ** torch.rand(3, 12, 2, generator=generator)
    targets = [
        Target(torch.cat([a, a + s], dim=1), torch.arange(12))
        for a, s in zip(corner, size, strict=True)
    ]
    points = make_points([(32, 40), (16, 20), (8, 10), (4, 5), (2, 3)], [8, 16, 32, 64, 128])
    assignment = assign(points, targets, center_radius=radius)
    ranges = ((-1, 64), (64, 128), (128, 256), (256, 512), (512, INF))
    expected = oracle(points, targets, ranges, radius)
    assert assignment.labels.tolist() == [[row[0] for row in rows] for rows in expected]
    assert assignment.claims.tolist() == [[row[3] for row in rows] for rows in expected]
    exact = torch.tensor([[row[2] for row in rows] for rows in expected])
    torch.testing.assert_close(assignment.ltrb_px, exact, rtol=0, atol=1e-4)
    # The scene is worth comparing: many positives, many ambiguous.
    assert assignment.positive.sum() > 150
    assert (assignment.claims > 1).sum() > 5


def test_the_official_labels_and_distances(shared: Path) -> None:
    cases = torch.load(shared / "golden" / "targets_official.pt", weights_only=True)
    assert len(cases) == 20
    for case in cases:
        strides = (8, 16, 32, 64, 128)
        sizes = [(math.ceil(case["height"] / s), math.ceil(case["width"] / s)) for s in strides]
        points = make_points(sizes, strides)
        targets = [Target(image["boxes"], image["labels"]) for image in case["targets"]]
        assignment = assign(points, targets, center_radius=case["radius"] or None)
        labels = torch.cat([level.view(2, -1) for level in case["labels"]], dim=1).long()
        ltrb = torch.cat([level.view(2, -1, 4) for level in case["reg_targets"]], dim=1)
        if case["norm_reg_targets"]:
            ltrb = ltrb * points.stride[:, None]
        # The official area counts a pixel more on each side. That could decide which of two
        # overlapping boxes is the smaller only where their areas differ by less than their
        # half-perimeters do; no point of these cases is one, so not a single label may differ.
        assert int((labels != assignment.labels).sum()) == 0
        torch.testing.assert_close(assignment.ltrb_px, ltrb, rtol=0, atol=1e-5)
        assert int(assignment.positive.sum()) == case["num_pos"]


def test_areas_that_differ_by_one_pixel_in_a_hundred_million_are_told_apart() -> None:
    # 1e8 - area in float32 has steps of 8 px: both of these would be 0 or equal.
    points = make_points([(1, 1)], [10000])
    larger, smaller = [0.0, 0, 10001, 10000], [0.0, 0, 10000, 10000.5]
    for boxes, winner in (([larger, smaller], 1), ([smaller, larger], 0)):
        assignment = assign(points, [target(boxes)], ((-1, INF),), None)
        assert assignment.matched.tolist() == [[winner]]
    # Areas 99,999,999 and 100,000,000: the same float32 number.
    one_less = [0.0, 0, 11111111, 9]
    hundred_million = [0.0, 0, 12500000, 8]
    points = make_points([(1, 1)], [8])
    for boxes, winner in (([hundred_million, one_less], 1), ([one_less, hundred_million], 0)):
        assignment = assign(points, [target(boxes)], ((-1, INF),), None)
        assert assignment.matched.tolist() == [[winner]]


@pytest.mark.parametrize("number", [2, 3, 20])
def test_of_equal_boxes_the_first_wins(number: int) -> None:
    points = make_points([(4, 4)], [8])
    assignment = assign(points, [target([[0, 0, 32, 32]] * number)], ((-1, INF),), None)
    assert assignment.matched.unique().tolist() == [0]
    assert assignment.claims.unique().tolist() == [number]


def test_only_boxes_that_claim_a_point_compete_for_it() -> None:
    # The small box is too small for the second level, the large one too large for the first.
    points = make_points([(1, 1), (1, 1)], [8, 8])
    assignment = assign(
        points, [target([[0, 0, 8, 8], [-50, -50, 58, 58]])], ((-1, 10), (10, INF)), None
    )
    assert assignment.matched.tolist() == [[0, 1]]
    assert assignment.claims.tolist() == [[1, 1]]


def test_both_ends_of_a_size_range_are_inclusive() -> None:
    points = make_points([(1, 1)] * 3, [8] * 3)
    assignment = assign(points, [target([[0, 0, 68, 8]])], ((-1, 64), (64, 128), (64.5, 70)), None)
    assert assignment.ltrb_px[0, 0].tolist() == [4, 4, 64, 4]
    assert assignment.labels.tolist() == [[0, 0, -1]]


def test_a_point_on_the_border_is_outside() -> None:
    points = make_points([(1, 1)], [8])
    for box, label in (
        ([4.0, 0, 8, 8], -1),
        ([0.0, 4, 8, 8], -1),
        ([0.0, 0, 4, 8], -1),
        ([0.0, 0, 8, 4], -1),
        ([3.75, 3.75, 4.25, 4.25], 0),
    ):
        assert assign(points, [target([box])], ((-1, INF),), None).labels.item() == label


def test_images_without_boxes_beside_others_and_alone() -> None:
    points = make_points([(2, 2)], [8])
    some, none = target([[0, 0, 16, 16]]), target([])
    mixed = assign(points, [none, some, none], ((-1, INF),), None)
    assert mixed.labels.tolist() == [[-1] * 4, [0] * 4, [-1] * 4]
    alone = assign(points, [none, none], ((-1, INF),), None)
    for field, fill in (("labels", -1), ("matched", -1), ("claims", 0), ("ltrb_px", 0)):
        value = getattr(alone, field)
        assert value.shape[:2] == (2, 4)
        assert (value == fill).all()
        assert value.dtype == (torch.float32 if field == "ltrb_px" else torch.int64)


def test_padded_targets_and_a_list_are_the_same() -> None:
    points = make_points([(4, 4)], [8])
    # A zero row of padding has the smallest area of all, and must not win.
    targets = [target([[0, 0, 30, 30], [2, 2, 20, 20]]), target([[1, 1, 31, 31]])]
    listed = assign(points, targets, ((-1, INF),), 1.5)
    padded = assign(points, Targets.stack(targets), ((-1, INF),), 1.5)
    for field in ("labels", "matched", "claims", "ltrb_px"):
        assert torch.equal(getattr(listed, field), getattr(padded, field))
    assert listed.matched[1].max() == 0


def test_more_boxes_than_fit_in_a_byte() -> None:
    points = make_points([(1, 1)], [8])
    boxes = [[-size, -size, 8.0 + size, 8 + size] for size in range(600, 0, -1)]
    assignment = assign(points, [target(boxes)], ((-1, INF),), None)
    assert assignment.claims.item() == 600
    assert assignment.matched.item() == 599


def test_as_many_ranges_as_levels() -> None:
    with pytest.raises(ValueError, match="5 size ranges but 1 levels"):
        assign(make_points([(1, 1)], [8]), [target([])])


def test_custom_levels() -> None:
    points = make_points([(4, 4), (2, 2)], [16, 32])
    small, large = [1.0, 1, 31, 31], [1.0, 1, 63, 63]
    assignment = assign(points, [target([small, large])], ((-1, 30), (30, INF)), None)
    levels = assignment.matched[0].split(points.per_level)
    assert set(levels[0].tolist()) == {-1, 0}
    assert set(levels[1].tolist()) == {1}


class Largest(TorchDispatchMode):
    """Keeps the bytes of the largest tensor that any operation has returned."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for one in pytree.tree_leaves(result):
            if isinstance(one, torch.Tensor):
                self.bytes = max(self.bytes, one.untyped_storage().nbytes())
        return result


def test_no_tensor_has_a_number_for_each_point_box_and_side() -> None:
    sizes = [(64, 64), (32, 32), (16, 16), (8, 8), (4, 4)]
    points, boxes = make_points(sizes, [8, 16, 32, 64, 128]), 300
    corners = torch.rand(boxes, 2, 2, generator=torch.Generator().manual_seed(0)) * 512
    many = target(torch.cat([corners.amin(1), corners.amax(1) + 1], dim=1).tolist())
    with Largest() as seen:
        assignment = assign(points, [many])
    assert (assignment.labels >= 0).any()
    # Not even a float for each point and box, let alone four.
    assert 0 < seen.bytes < 4 * len(points.xy) * boxes
