from pathlib import Path

import numpy as np
import pytest
from tests.evaluation.scenes import all_overlaps, coco_golden, ground_truth, random_scene, table

from fcos_lightning.evaluation.analysis.groups import (
    CROWDING,
    Group,
    _figures,
    ap_by_aspect,
    ap_by_number,
    ap_by_size,
    crowding,
    missed_by,
)
from fcos_lightning.evaluation.coco import coco_summary
from fcos_lightning.evaluation.detections import xywh_of
from fcos_lightning.evaluation.matches import matched


def test_cocos_sizes_give_cocos_figures(shared: Path) -> None:
    truth, detections = coco_golden(shared / "golden" / "coco_eval")
    matches = matched(truth, detections)
    summary = coco_summary(truth, detections)
    xywh = xywh_of(detections.boxes_xyxy)
    ranges = (Group("s", 0, 32), Group("m", 32, 96), Group("l", 96, np.inf))
    rows = _figures(matches, ranges, np.sqrt(xywh[:, 2] * xywh[:, 3]), np.sqrt(truth.areas_px))
    for name, row in zip("sml", rows, strict=True):
        assert row["AP"] == pytest.approx(summary[f"AP{name}"], abs=1e-12)
        assert row["recall"] == pytest.approx(summary[f"AR{name}"], abs=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_every_object_is_in_one_group(seed: int) -> None:
    matches = matched(*random_scene(seed))
    for by in (ap_by_size, ap_by_aspect, ap_by_number):
        assert sum(row["objects"] for row in by(matches)) == matches.counted.sum()
    assert sum(row["images"] for row in ap_by_number(matches)) == len(matches.truth)


def test_a_group_is_measured_by_itself() -> None:
    high, wide = [0.0, 0, 20, 100], [200.0, 200, 300, 240]
    truth = ground_truth({1: [(high, 0), (wide, 0)]})
    rows = [(1, high, 0.5, 0), (1, [300.0, 0, 400, 40], 0.9, 0)]  # a wide one is wrong
    found = {row["group"]: row for row in ap_by_aspect(matched(truth, table(rows)))}
    assert found["very high, below 1:3"]["AP"] == pytest.approx(1)
    assert found["wide, 3:2 to 3:1"]["AP"] == 0
    assert found["about square, 2:3 to 3:2"]["AP"] is None


def test_crowding_is_the_overlap_with_the_nearest_other() -> None:
    truth = ground_truth(
        {
            1: [([0, 0, 10, 10], 0), ([0, 0, 10, 5], 1), ([50, 0, 60, 10], 0)],
            2: [([0, 0, 10, 10], 0), ([0, 0, 10, 10], 0)],
        },
        ignored=[False, False, False, False, True],
    )
    matches = matched(truth, table([(1, [50.0, 0, 60, 10], 0.4, 0), (1, [0.0, 0, 10, 10], 0.9, 0)]))
    assert crowding(matches).tolist() == [0.5, 0.5, 0, 0, 0]
    rows = missed_by(matches, CROWDING, crowding(matches), 0.5)
    assert [(row["objects"], row["missed"]) for row in rows] == [(2, 2), (0, 0), (0, 0), (2, 1)]
    assert rows[3]["share"] == 0.5 and rows[1]["share"] is None


@pytest.mark.parametrize("seed", range(4))
def test_crowding_of_random_scenes(seed: int) -> None:
    matches = matched(*random_scene(seed))
    overlap = all_overlaps(matches.truth.boxes_xyxy, matches.truth.boxes_xyxy)
    overlap[matches.images[:, None] != matches.images] = 0
    overlap[~matches.counted], overlap[:, ~matches.counted] = 0, 0
    np.fill_diagonal(overlap, 0)
    np.testing.assert_allclose(crowding(matches), overlap.max(axis=1, initial=0))
