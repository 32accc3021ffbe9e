import numpy as np
import pytest
from tests.evaluation.scenes import all_overlaps, ground_truth, random_scene, table

from fcos_lightning.evaluation.analysis.curves import precision_recall
from fcos_lightning.evaluation.coco import coco_summary
from fcos_lightning.evaluation.matches import best_pairs, matched, near_pairs


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("iou", [0.5, 0.75])
def test_the_matches_give_the_ap_that_is_reported(seed: int, iou: float) -> None:
    truth, detections = random_scene(seed)
    matches = matched(truth, detections, iou)
    classes = coco_summary(truth, detections)["per_class"]
    if iou == 0.5:
        for label, row in enumerate(classes.values()):
            curve = precision_recall(matches, label)
            assert (None if curve is None else curve.mean()) == pytest.approx(row["AP50"])
    overlaps = all_overlaps(detections.boxes_xyxy, truth.boxes_xyxy)
    for row in np.flatnonzero(matches.right):
        found = matches.object_of[row]
        assert matches.found_by[found] == row
        assert not truth.ignored[found] and truth.labels[found] == detections.labels[row]
        assert matches.images[found] == matches.positions[row]
        assert overlaps[row, found] >= iou
    assert (matches.object_of >= 0).tolist() == matches.right.tolist()
    assert (matches.found_by >= 0).sum() == matches.right.sum()
    assert not (matches.right & matches.wrong).any()


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("at_a_time", [1, 7, 10**6])
def test_pairs_are_those_of_a_naive_search_however_few_are_looked_at_together(
    seed: int, at_a_time: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fcos_lightning.evaluation.detections.PAIRS_AT_A_TIME", at_a_time)
    truth, detections = random_scene(seed)
    matches = matched(truth, detections)
    wanted = matches.scores > 0.3
    overlaps = all_overlaps(detections.boxes_xyxy, truth.boxes_xyxy)
    overlaps[matches.positions[:, None] != matches.images] = 0
    overlaps[:, truth.ignored] = 0
    overlaps[~wanted] = 0
    pairs = near_pairs(matches, wanted, 0.2)
    rows, objects = np.nonzero(overlaps >= 0.2 - 1e-12)
    assert pairs.detection.tolist() == rows.tolist()
    assert pairs.object.tolist() == objects.tolist()
    np.testing.assert_allclose(pairs.iou, overlaps[rows, objects])
    best = best_pairs(pairs)
    assert best.detection.tolist() == np.flatnonzero((overlaps >= 0.2 - 1e-12).any(1)).tolist()
    np.testing.assert_allclose(best.iou, overlaps[best.detection].max(axis=1))


def test_an_object_belongs_to_the_best_detection_and_a_crowd_to_nobody() -> None:
    truth = ground_truth(
        {1: [([0, 0, 10, 10], 0), ([50, 50, 90, 90], 0)], 2: []}, ignored=[False, True]
    )
    rows = [
        (1, [0.0, 0, 10, 9], 0.5, 0),
        (1, [0.0, 0, 10, 10], 0.4, 0),
        (1, [50.0, 50, 70, 70], 0.9, 0),
        (2, [0.0, 0, 10, 10], 0.8, 0),
        (1, [0.0, 0, 10, 10], 0.7, 1),
    ]
    matches = matched(truth, table(rows))
    assert matches.right.tolist() == [True, False, False, False, False]
    assert matches.wrong.tolist() == [False, True, False, True, True]
    assert matches.found_by.tolist() == [0, -1]
    assert matches.found_score().tolist() == [0.5, -np.inf]


def test_nothing_found_and_nothing_to_find() -> None:
    truth = ground_truth({1: [([0, 0, 10, 10], 0)], 2: []})
    matches = matched(truth, table([]))
    assert matches.found_by.tolist() == [-1] and len(matches.right) == 0
    assert len(near_pairs(matches, matches.wrong).iou) == 0
    empty = matched(ground_truth({1: []}), table([(1, [0.0, 0, 9, 9], 0.5, 0)]))
    assert empty.wrong.tolist() == [True]
    assert len(near_pairs(empty, empty.wrong).iou) == 0
