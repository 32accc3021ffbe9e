import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.evaluation.scenes import ground_truth, perfect, random_scene, table

from fcos_lightning.evaluation.detections import DetectionTable
from fcos_lightning.evaluation.voc import voc_summary
from fcos_lightning.structures import GroundTruth

BOX, OTHER, FAR = [10, 10, 110, 110], [200, 10, 300, 110], [10, 200, 110, 300]


def golden(path: Path) -> tuple[GroundTruth, DetectionTable, dict]:
    """The file's boxes are inclusive pixels: one is added to make their ends exclusive."""
    data = json.loads(path.read_text())
    truth_rows: dict[int, list[tuple[list[float], int]]] = {}
    difficult: list[bool] = []
    rows: list[tuple[int, list[float], float, int]] = []

    def exclusive(box: list[float]) -> list[float]:
        return [box[0], box[1], box[2] + 1, box[3] + 1]

    for number, image in enumerate(data["images"], start=1):
        boxes = map(exclusive, image["gt_boxes"])
        truth_rows[number] = [
            (box, label - 1) for box, label in zip(boxes, image["gt_labels"], strict=True)
        ]
        difficult += image["difficult"]
        found = zip(image["boxes"], image["scores"], image["labels"], strict=True)
        rows += [(number, exclusive(box), score, label - 1) for box, score, label in found]
    truth = ground_truth(truth_rows, ignored=difficult, category_ids=tuple(data["classes"]))
    return truth, table(rows), data["expected"]


def test_equals_the_evaluation_of_the_official_repository(shared: Path) -> None:
    # It adds the pixel of inclusive boxes a second time inside its overlap, hence the margin.
    truth, detections, expected = golden(shared / "golden" / "voc_eval.json")
    summary = voc_summary(truth, detections, overlap_margin_px=1.0)
    assert summary["mAP_11point"] == pytest.approx(expected["map_11point"], abs=1e-6)
    assert summary["mAP_area"] == pytest.approx(expected["map_area"], abs=1e-6)
    rows = summary["per_class"].values()
    assert [row["AP_11point"] for row in rows] == pytest.approx(expected["ap_11point"], abs=1e-6)
    assert [row["AP_area"] for row in rows] == pytest.approx(expected["ap_area"], abs=1e-6)


def test_the_second_pixel_of_the_official_repository_is_not_our_default(shared: Path) -> None:
    truth, detections, expected = golden(shared / "golden" / "voc_eval.json")
    ours = voc_summary(truth, detections)
    assert ours["mAP_area"] < expected["map_area"] - 0.005


def naive(
    truth: GroundTruth, detections: DetectionTable, label: int, iou: float
) -> tuple[float, float] | None:
    """The development kit's text, one detection at a time."""
    wanted: dict[int, list[list[float]]] = {}
    easy = 0
    for image, image_id in enumerate(truth.image_ids.tolist()):
        rows = range(truth.rows(image).start, truth.rows(image).stop)
        mine = [row for row in rows if truth.labels[row] == label]
        wanted[image_id] = [
            [*truth.boxes_xyxy[row], bool(truth.ignored[row]), False] for row in mine
        ]
        easy += sum(not box[4] for box in wanted[image_id])
    if easy == 0:
        return None
    rows = [row for row in range(len(detections)) if detections.labels[row] == label]
    rows.sort(key=lambda row: -detections.scores[row])
    outcomes: list[bool] = []
    for row in rows:
        x1, y1, x2, y2 = detections.boxes_xyxy[row]
        best, owner = -1.0, None
        for box in wanted[int(detections.image_ids[row])]:
            width, height = min(x2, box[2]) - max(x1, box[0]), min(y2, box[3]) - max(y1, box[1])
            shared = max(width, 0) * max(height, 0)
            union = (x2 - x1) * (y2 - y1) + (box[2] - box[0]) * (box[3] - box[1]) - shared
            if shared / union > best:
                best, owner = shared / union, box
        if owner is None or best < iou:
            outcomes.append(False)
        elif not owner[4]:
            outcomes.append(not owner[5])
            owner[5] = True
    curve = [
        (sum(outcomes[:count]) / easy, sum(outcomes[:count]) / count)
        for count in range(1, len(outcomes) + 1)
    ]
    eleven = sum(
        max((precision for recall, precision in curve if recall >= step * 0.1), default=0.0)
        for step in range(11)
    )
    area, before = 0.0, 0.0
    for place, (recall, _) in enumerate(curve):
        area += (recall - before) * max(precision for _, precision in curve[place:])
        before = recall
    return eleven / 11, area


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    images=st.integers(1, 8),
    classes=st.integers(1, 3),
    steps=st.sampled_from([2, 1000]),
    iou=st.sampled_from([0.3, 0.5, 0.75]),
)
def test_equals_the_definition_taken_literally(
    seed: int, images: int, classes: int, steps: int, iou: float
) -> None:
    truth, detections = random_scene(seed, images=images, classes=classes, steps=steps)
    summary = voc_summary(truth, detections, iou)
    expected = [naive(truth, detections, label, iou) for label in range(classes)]
    for row, figures in zip(summary["per_class"].values(), expected, strict=True):
        if figures is None:
            assert row == {"AP_11point": None, "AP_area": None, "boxes": 0}
        else:
            assert (row["AP_11point"], row["AP_area"]) == pytest.approx(figures, abs=1e-12)
    known = [figures for figures in expected if figures is not None]
    means = np.mean(known, axis=0) if known else (None, None)
    assert (summary["mAP_11point"], summary["mAP_area"]) == pytest.approx(means, abs=1e-12)


def test_perfect_detections_give_one() -> None:
    truth = ground_truth({0: [(BOX, 0), (OTHER, 1)], 4: [], 2: [(FAR, 0)]})
    summary = voc_summary(truth, perfect(truth))
    assert summary["mAP_11point"] == summary["mAP_area"] == 1.0
    assert summary["per_class"]["class3"] == {"AP_11point": None, "AP_area": None, "boxes": 0}


def test_no_detections_give_zero() -> None:
    truth = ground_truth({1: [(BOX, 0)]})
    summary = voc_summary(truth, table([]))
    assert summary["mAP_11point"] == summary["mAP_area"] == 0.0
    assert summary["per_class"]["class1"] == {"AP_11point": 0.0, "AP_area": 0.0, "boxes": 1}


def test_difficult_objects_are_neither_right_nor_wrong() -> None:
    truth = ground_truth({1: [(BOX, 0), (OTHER, 0)]}, ignored=[True, False])
    twice_on_difficult = [(1, BOX, 0.9, 0), (1, BOX, 0.8, 0), (1, OTHER, 0.7, 0)]
    assert voc_summary(truth, table(twice_on_difficult))["mAP_area"] == 1.0
    only_difficult = ground_truth({1: [(BOX, 0)]}, ignored=[True])
    summary = voc_summary(only_difficult, table([(1, BOX, 0.9, 0)]))
    assert summary["mAP_area"] is None
    assert summary["per_class"]["class1"]["AP_area"] is None


def test_the_second_detection_of_an_object_is_wrong() -> None:
    truth = ground_truth({1: [(BOX, 0)], 2: [(OTHER, 0)]})
    rows = [(1, BOX, 0.9, 0), (1, BOX, 0.8, 0), (2, OTHER, 0.7, 0)]
    summary = voc_summary(truth, table(rows))
    assert summary["mAP_area"] == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert summary["mAP_11point"] == pytest.approx((6 * 1 + 5 * 2 / 3) / 11)


def test_an_overlap_of_exactly_the_threshold_is_enough() -> None:
    truth = ground_truth({1: [(BOX, 0)]})
    half = table([(1, [10, 10, 60, 110], 0.9, 0)])
    assert voc_summary(truth, half)["mAP_area"] == 1.0
    assert voc_summary(truth, half, iou=0.501)["mAP_area"] == 0.0


def test_an_unknown_image_is_an_error() -> None:
    with pytest.raises(ValueError, match="image 5"):
        voc_summary(ground_truth({1: [(BOX, 0)]}), table([(5, BOX, 0.9, 0)]))
