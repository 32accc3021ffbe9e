import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.evaluation.scenes import coco_golden, ground_truth, perfect, random_scene, table

from fcos_lightning.evaluation.coco import BY_SIZE, OVERALL, coco_summary
from fcos_lightning.evaluation.detections import DetectionTable, pairs_of_groups
from fcos_lightning.structures import Detections, GroundTruth

BACKENDS = ("pycocotools", "faster")
FIGURES = OVERALL + BY_SIZE
GOLDEN = {
    "AP": 0.5045806987249628,
    "AP50": 0.6969727247299577,
    "AP75": 0.5729816669904824,
    "APs": 0.5856257209410443,
    "APm": 0.5193996948036719,
    "APl": 0.5013978986347466,
    "AR1": 0.38681277964578054,
    "AR10": 0.5936795762842003,
    "AR100": 0.595352982877607,
    "ARs": 0.6398109626113442,
    "ARm": 0.5664205978994309,
    "ARl": 0.5642905982905982,
}
SMALL, MEDIUM, LARGE = [10, 10, 30, 30], [100, 100, 160, 160], [200, 200, 350, 350]


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_coco_api_example_gives_the_published_figures(shared: Path, backend: str) -> None:
    truth, detections = coco_golden(shared / "golden" / "coco_eval")
    summary = coco_summary(truth, detections, backend=backend)
    assert {name: summary[name] for name in FIGURES} == pytest.approx(GOLDEN, abs=1e-9)
    assert sum(row["boxes"] for row in summary["per_class"].values()) == 839 - 9
    known = [row["AP"] for row in summary["per_class"].values() if row["AP"] is not None]
    assert np.mean(known) == pytest.approx(GOLDEN["AP"], abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    images=st.integers(1, 8),
    classes=st.integers(1, 4),
    steps=st.sampled_from([1, 4, 1000]),
)
def test_both_backends_agree_on_random_scenes(
    seed: int, images: int, classes: int, steps: int
) -> None:
    truth, detections = random_scene(seed, images=images, classes=classes, steps=steps)
    _assert_backends_agree(truth, detections)


@pytest.mark.parametrize("seed", range(4))
def test_both_backends_agree_on_more_detections_than_are_looked_at(seed: int) -> None:
    # Thirty copies of every detection under new scores: the cut after 100 falls among them.
    truth, few = random_scene(seed, images=3, classes=1)
    rng = np.random.default_rng(seed)
    many = DetectionTable(
        image_ids=np.tile(few.image_ids, 30),
        boxes_xyxy=np.tile(few.boxes_xyxy, (30, 1)),
        scores=rng.integers(1, 100, 30 * len(few)) / 100,
        labels=np.tile(few.labels, 30),
    )
    assert np.unique(many.image_ids, return_counts=True)[1].max() > 100
    _assert_backends_agree(truth, many)


def _assert_backends_agree(truth: GroundTruth, detections: DetectionTable) -> None:
    first, second = (coco_summary(truth, detections, backend=name) for name in BACKENDS)
    for name in FIGURES:
        assert first[name] == pytest.approx(second[name], abs=1e-9), name
    assert list(first["per_class"]) == list(second["per_class"]) == list(truth.class_names)
    for name, row in first["per_class"].items():
        assert row == pytest.approx(second["per_class"][name], abs=1e-9), name


@pytest.mark.parametrize("backend", BACKENDS)
def test_perfect_detections_give_one(backend: str) -> None:
    # A single object is the case that an annotation id of 0 would turn into AP 0.
    for boxes in ([(MEDIUM, 0)], [(SMALL, 0), (MEDIUM, 1), (LARGE, 2), (LARGE, 1)]):
        truth = ground_truth({0: boxes, 5: []})
        summary = coco_summary(truth, perfect(truth), backend=backend)
        for name in ("AP", "AP50", "AP75", "AR100", "APm", "ARm"):
            assert summary[name] == pytest.approx(1.0, abs=1e-12), name


@pytest.mark.parametrize("backend", BACKENDS)
def test_figures_that_can_be_computed_by_hand(backend: str) -> None:
    # Label 0: a wrong detection above the right one, precision 1/2 at every recall.
    # Label 1: one of two objects found, at IoU .6: precision 1 up to recall .5 at 3 of 10
    # thresholds; 51 of 101 recalls. Label 2: nothing to find, so its detection does not count.
    truth = ground_truth({3: [(MEDIUM, 0)], 9: [(LARGE, 1), (MEDIUM, 1)]})
    detections = table(
        [
            (9, MEDIUM, 0.9, 0),
            (3, MEDIUM, 0.8, 0),
            (9, [200, 200, 350, 290], 0.7, 1),
            (3, SMALL, 0.6, 2),
        ]
    )
    summary = coco_summary(truth, detections, backend=backend)
    assert summary["per_class"] == {
        "class1": {"AP": pytest.approx(0.5), "AP50": pytest.approx(0.5), "boxes": 1},
        "class2": {
            "AP": pytest.approx(0.3 * 51 / 101),
            "AP50": pytest.approx(51 / 101),
            "boxes": 2,
        },
        "class3": {"AP": None, "AP50": None, "boxes": 0},
    }
    assert summary["AP"] == pytest.approx((0.5 + 0.3 * 51 / 101) / 2)
    assert summary["AR100"] == pytest.approx((1 + 0.3 * 0.5) / 2)
    assert summary["APs"] is None
    assert summary["ARs"] is None


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_detections_give_zero(backend: str) -> None:
    truth = ground_truth({1: [(SMALL, 0), (MEDIUM, 0), (LARGE, 2)], 2: []})
    summary = coco_summary(truth, DetectionTable.from_detections([]), backend=backend)
    assert {name: summary[name] for name in FIGURES} == dict.fromkeys(FIGURES, 0.0)
    assert [row["AP"] for row in summary["per_class"].values()] == [0.0, None, 0.0]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("images", [{}, {1: []}, {1: [(LARGE, 0)], 2: [(SMALL, 1)]}])
def test_nothing_but_crowds_leaves_nothing_to_find(backend: str, images: dict) -> None:
    truth = ground_truth(images, ignored=[True] * sum(map(len, images.values())))
    detections = table([(image_id, MEDIUM, 0.9, 0) for image_id in images])
    summary = coco_summary(truth, detections, backend=backend)
    assert {name: summary[name] for name in OVERALL} == dict.fromkeys(OVERALL)
    assert {name: summary[name] for name in BY_SIZE} == dict.fromkeys(BY_SIZE)
    assert all(
        row == {"AP": None, "AP50": None, "boxes": 0} for row in summary["per_class"].values()
    )


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_detection_on_a_crowd_is_neither_right_nor_wrong(backend: str) -> None:
    truth = ground_truth({1: [(LARGE, 0), (MEDIUM, 0)]}, ignored=[True, False])
    on_crowd = [(1, [210, 210, 300, 300], 0.9, 0), (1, [250, 220, 340, 330], 0.8, 0)]
    right = [(1, MEDIUM, 0.7, 0)]
    summary = coco_summary(truth, table(on_crowd + right), backend=backend)
    assert summary["AP"] == pytest.approx(1.0, abs=1e-12)
    beside = [(1, [5, 5, 60, 60], 0.9, 0)]
    assert coco_summary(truth, table(beside + right), backend=backend)["AP"] == pytest.approx(0.5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_annotated_area_decides_the_size(backend: str) -> None:
    truth = ground_truth({1: [(LARGE, 0)]})
    truth.areas_px[:] = 500  # a thin segment in a large box
    summary = coco_summary(truth, perfect(truth), backend=backend)
    assert summary["APs"] == pytest.approx(1.0, abs=1e-12)
    assert summary["APm"] is None
    assert summary["APl"] is None


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("side", "sizes"), [(32, "sm"), (96, "ml")])
def test_an_area_between_two_sizes_is_of_both(backend: str, side: int, sizes: str) -> None:
    truth = ground_truth({1: [([0, 0, side, side], 0)]})
    summary = coco_summary(truth, perfect(truth), backend=backend)
    assert [size for size in "sml" if summary[f"AP{size}"] is not None] == list(sizes)


@pytest.mark.parametrize("backend", BACKENDS)
def test_of_equal_overlaps_the_later_object_is_taken(backend: str) -> None:
    # The first detection overlaps both objects by 2/3 and takes the second, which the other
    # detection would have found.
    first, second = [80, 100, 180, 200], [120, 100, 220, 200]
    truth = ground_truth({1: [(first, 0), (second, 0)]})
    detections = table([(1, [100, 100, 200, 200], 0.9, 0), (1, second, 0.8, 0)])
    row = coco_summary(truth, detections, backend=backend)["per_class"]["class1"]
    assert row["AP50"] == pytest.approx(51 / 101)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_libraries_print_nothing(backend: str, capfd: pytest.CaptureFixture[str]) -> None:
    truth, detections = random_scene(1)
    coco_summary(truth, detections, backend=backend)
    assert capfd.readouterr() == ("", "")


def test_two_classes_of_one_name_are_both_reported() -> None:
    truth = ground_truth(
        {1: [(LARGE, 0), (SMALL, 1)]}, category_ids=(4, 8), class_names=("cup", "cup")
    )
    assert list(coco_summary(truth, perfect(truth))["per_class"]) == ["cup (id 4)", "cup (id 8)"]


def test_what_the_ground_truth_does_not_know_is_an_error() -> None:
    truth = ground_truth({1: [(LARGE, 0)]})
    with pytest.raises(ValueError, match="image 77"):
        coco_summary(truth, table([(1, LARGE, 0.5, 0), (77, LARGE, 0.5, 0)]))
    with pytest.raises(ValueError, match="label 3"):
        coco_summary(truth, table([(1, LARGE, 0.5, 0), (1, LARGE, 0.5, 3)]))
    with pytest.raises(ValueError, match="label -1"):
        coco_summary(truth, table([(1, LARGE, 0.5, 0), (1, LARGE, 0.5, -1)]))
    with pytest.raises(ValueError, match="backend"):
        coco_summary(truth, table([]), backend="slow")


def test_a_table_refuses_what_it_cannot_evaluate() -> None:
    for box, score in (([0, 0, float("nan"), 5], 0.5), (LARGE, float("inf"))):
        with pytest.raises(ValueError, match=r"image 4 .*not finite"):
            table([(3, LARGE, 0.5, 0), (4, box, score, 0)])
    good = table([(1, LARGE, 0.5, 0)])
    with pytest.raises(ValueError, match="1 image ids need boxes"):
        DetectionTable(good.image_ids, good.boxes_xyxy[:0], good.scores, good.labels)


def test_detections_of_images_are_joined_in_order() -> None:
    def found(*scores: float) -> Detections:
        boxes = torch.arange(4.0).expand(len(scores), 4) + torch.tensor(scores)[:, None]
        labels = torch.arange(len(scores))
        return Detections(boxes.half(), torch.tensor(scores), labels)

    joined = DetectionTable.from_detections([(7, found(1.0, 0.5)), (2, found()), (3, found(0.25))])
    assert joined.image_ids.tolist() == [7, 7, 3]
    assert joined.scores.tolist() == [1.0, 0.5, 0.25]
    assert joined.labels.tolist() == [0, 1, 0]
    assert joined.boxes_xyxy.dtype == np.float32
    assert joined.boxes_xyxy[2].tolist() == [0.25, 1.25, 2.25, 3.25]


@given(st.lists(st.integers(0, 4), max_size=12), st.lists(st.integers(0, 4), max_size=12))
def test_rows_of_one_group_are_paired_in_order(first: list[int], second: list[int]) -> None:
    second = sorted(second)
    rows, partners = pairs_of_groups(np.array(first, np.int64), np.array(second, np.int64))
    expected = [(i, j) for i, one in enumerate(first) for j, two in enumerate(second) if one == two]
    assert list(zip(rows.tolist(), partners.tolist(), strict=True)) == expected


def test_importing_the_evaluation_loads_no_evaluator_and_no_trainer() -> None:
    modules = ", ".join(f"fcos_lightning.evaluation.{name}" for name in ("coco", "voc", "output"))
    unwanted = ("pycocotools", "lightning", "hydra", "albumentations")
    code = f"import sys, {modules}; print([name for name in {unwanted} if name in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
