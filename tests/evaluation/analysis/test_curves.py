import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.evaluation.scenes import ground_truth, random_scene, table

from fcos_lightning.evaluation.analysis.curves import (
    GRID,
    best_threshold,
    calibration,
    counts_at,
)
from fcos_lightning.evaluation.matches import Matches, matched


def naive_f1(matches: Matches, threshold: float, label: int | None) -> tuple[float, float, float]:
    """By detections that are kept and nothing else."""
    truth = matches.truth
    right = wrong = 0
    for row, score in enumerate(matches.scores):
        if score >= threshold and label in (None, matches.labels[row]):
            right += bool(matches.right[row])
            wrong += bool(matches.wrong[row])
    objects = sum(
        not ignored and label in (None, kind)
        for ignored, kind in zip(truth.ignored, truth.labels, strict=True)
    )
    precision = right / (right + wrong) if right + wrong else 1.0
    recall = right / objects if objects else 0.0
    f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return precision, recall, f1


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("label", [None, 0, 2])
def test_the_curves_are_those_of_counting(seed: int, label: int | None) -> None:
    matches = matched(*random_scene(seed))
    counts = counts_at(matches, GRID, label)
    for place in (0, 12, 13, 50, 99, 100):
        expected = naive_f1(matches, GRID[place], label)
        found = (counts.precision[place], counts.recall[place], counts.f1[place])
        assert found == pytest.approx(expected)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), steps=st.sampled_from([3, 8, 997]))
def test_no_threshold_is_better_than_the_best(seed: int, steps: int) -> None:
    matches = matched(*random_scene(seed, steps=steps))
    for label in (None, 0, 1, 2):
        best = best_threshold(matches, label)
        figures = [naive_f1(matches, score, label)[2] for score in {0.0, *matches.scores}]
        if best is None:
            assert max(figures) == 0
            continue
        assert best.f1 == pytest.approx(max(figures))
        assert (best.precision, best.recall, best.f1) == pytest.approx(
            naive_f1(matches, best.threshold, label)
        )
        assert len(repr(best.threshold)) <= 8  # short enough to be typed


@pytest.mark.parametrize(("score", "threshold"), [(0.0712, 0.07), (0.7123, 0.71), (0.004, 0.003)])
def test_the_best_threshold_is_short_however_low_the_scores(score: float, threshold: float) -> None:
    truth = ground_truth({1: [([0, 0, 10, 10], 0)]})
    best = best_threshold(matched(truth, table([(1, [0.0, 0, 10, 10], score, 0)])))
    assert best is not None and best.threshold == threshold


def test_scores_are_compared_with_the_share_that_is_right() -> None:
    truth = ground_truth(
        {1: [([0, 0, 10, 10], 0), ([20, 0, 30, 10], 0), ([40, 40, 90, 90], 0)]},
        ignored=[False, False, True],
    )
    rows = [
        (1, [0.0, 0, 10, 10], 0.9, 0),
        (1, [20.0, 0, 30, 10], 1.0, 0),
        (1, [200.0, 0, 230, 10], 0.95, 0),
        (1, [200.0, 90, 230, 99], 0.3, 0),
        (1, [40.0, 40, 90, 90], 0.35, 0),  # on an ignored object: neither
    ]
    found = calibration(matched(truth, table(rows)))
    assert found.detections.tolist() == [0, 0, 0, 1, 0, 0, 0, 0, 0, 3]
    assert found.mean_score[[3, 9]] == pytest.approx([0.3, 0.95])
    assert found.share_right[[3, 9]] == pytest.approx([0, 2 / 3])
    assert np.isnan(found.mean_score[0])
    assert found.error == pytest.approx((0.3 + 3 * (0.95 - 2 / 3)) / 4)


def test_without_detections_there_is_no_best() -> None:
    matches = matched(ground_truth({1: [([0, 0, 10, 10], 0)]}), table([]))
    assert best_threshold(matches) is None
    assert calibration(matches).error == 0
    assert counts_at(matches, GRID, None).recall.max() == 0
