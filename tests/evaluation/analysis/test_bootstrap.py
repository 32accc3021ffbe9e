from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.evaluation.scenes import coco_golden, random_scene

from fcos_lightning.evaluation.analysis import bootstrap, weighted
from fcos_lightning.evaluation.analysis.bootstrap import (
    FIGURES,
    Draws,
    figures_of_draws,
    image_counts,
    interval,
)
from fcos_lightning.evaluation.coco import coco_summary
from fcos_lightning.evaluation.detections import DetectionTable
from fcos_lightning.structures import GroundTruth


def drawn_scene(
    truth: GroundTruth, table: DetectionTable, counts: np.ndarray
) -> tuple[GroundTruth, DetectionTable]:
    """The data set in which each image stands as often as it was drawn, copies after each other."""
    images = np.repeat(np.arange(len(truth)), counts)
    copies = np.concatenate([np.arange(count) for count in counts] or [[]]).astype(np.int64)
    ids = truth.image_ids[images] * 100 + copies
    boxes = np.concatenate([np.arange(*truth.rows(i).indices(10**9)) for i in images] or [[]])
    rows = [np.flatnonzero(table.image_ids == truth.image_ids[i]) for i in images]
    found = np.concatenate(rows or [[]]).astype(np.int64)
    boxes = boxes.astype(np.int64)
    drawn = replace(
        truth,
        image_ids=ids,
        file_names=np.array([str(i) for i in ids]),
        sizes_hw=truth.sizes_hw[images],
        first_box=np.concatenate([[0], np.cumsum(np.diff(truth.first_box)[images])]),
        boxes_xyxy=truth.boxes_xyxy[boxes],
        labels=truth.labels[boxes],
        ignored=truth.ignored[boxes],
        areas_px=truth.areas_px[boxes],
    )
    ids_found = np.repeat(ids, [len(one) for one in rows])
    return drawn, DetectionTable(
        ids_found, table.boxes_xyxy[found], table.scores[found], table.labels[found]
    )


def without_ties(table: DetectionTable, seed: int) -> DetectionTable:
    """Scores that are all different: equal ones within an image stay together in a draw."""
    scores = np.random.default_rng(seed).permutation(len(table)) / (len(table) + 1)
    return DetectionTable(table.image_ids, table.boxes_xyxy, scores, table.labels)


def assert_same(draws: Draws, row: int, summary: dict) -> None:
    for name in FIGURES:
        expected = np.nan if summary[name] is None else summary[name]
        np.testing.assert_allclose(draws.figures[name][row], expected, atol=1e-12, err_msg=name)
    classes = [one["AP"] for one in summary["per_class"].values()]
    expected = [np.nan if one is None else one for one in classes]
    np.testing.assert_allclose(draws.per_class[row], expected, atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000))
def test_each_image_once_gives_the_figures_of_pycocotools(seed: int) -> None:
    truth, table = random_scene(seed, images=10)
    draws = figures_of_draws(truth, table, np.ones((1, 10), np.uint8))
    assert_same(draws, 0, coco_summary(truth, table, backend="pycocotools"))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_a_draw_is_what_an_evaluation_of_the_drawn_images_finds(seed: int) -> None:
    truth, table = random_scene(seed, images=8)
    table = without_ties(table, seed)
    counts = image_counts(len(truth), 4, seed)
    draws = figures_of_draws(truth, table, counts)
    for row, one in enumerate(counts):
        assert_same(draws, row, coco_summary(*drawn_scene(truth, table, one)))


@pytest.mark.parametrize(
    ("module", "name", "value"),
    [
        (weighted, "_MOST_DRAWS", 7),
        (weighted, "_TOGETHER", 1),
        (bootstrap, "_EXACT", 0),
        (bootstrap, "_WORTH_SHARING", 1),
    ],
)
def test_how_draws_are_shared_out_changes_nothing(
    module: ModuleType, name: str, value: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth, table = random_scene(5, images=30)
    counts = image_counts(len(truth), 40, 3)
    whole = figures_of_draws(truth, table, counts)
    monkeypatch.setattr(module, name, value)
    done: list[None] = []
    before = torch.get_num_threads()
    parts = figures_of_draws(truth, table, counts, threads=3, advance=lambda: done.append(None))
    assert len(done) == 40 and torch.get_num_threads() == before
    for figure in FIGURES:
        np.testing.assert_array_equal(parts.figures[figure], whole.figures[figure])
    np.testing.assert_array_equal(parts.per_class, whole.per_class)


def test_intervals_are_those_of_evaluating_each_draw() -> None:
    truth, table = random_scene(3, images=30)
    table = without_ties(table, 3)
    worse = replace(table, boxes_xyxy=table.boxes_xyxy + np.array([4.0, 0.0, 4.0, 0.0]))
    counts = image_counts(len(truth), 60, 1)
    found = [figures_of_draws(truth, one, counts, threads=2) for one in (table, worse)]
    naive = np.array(
        [
            [coco_summary(*drawn_scene(truth, one, row))["AP"] for row in counts]
            for one in (table, worse)
        ]
    )
    for mine, theirs in zip(found, naive, strict=True):
        assert interval(mine.figures["AP"]) == pytest.approx(
            tuple(np.quantile(theirs, (0.025, 0.975))), abs=1e-12
        )
    paired = found[1].figures["AP"] - found[0].figures["AP"]
    assert interval(paired) == pytest.approx(
        tuple(np.quantile(naive[1] - naive[0], (0.025, 0.975))), abs=1e-12
    )
    # Paired draws tell more than the two intervals do.
    low, high = interval(paired)
    assert high - low < np.subtract(*interval(naive[0])[::-1])


def test_the_coco_example(shared: object) -> None:
    truth, table = coco_golden(shared / "golden" / "coco_eval")
    draws = figures_of_draws(truth, table, np.ones((1, len(truth)), np.uint8))
    assert_same(draws, 0, coco_summary(truth, table, backend="pycocotools"))


def test_images_are_drawn_by_the_seed_alone() -> None:
    counts = image_counts(50, 400, 7)
    assert counts.shape == (400, 50) and (counts.sum(axis=1) == 50).all()
    assert (counts == image_counts(50, 400, 7)).all()
    assert (counts != image_counts(50, 400, 8)).any()
    # Each image is as likely as any other: on average it counts once, and is missing in e^-1.
    assert counts.mean(axis=0) == pytest.approx(np.ones(50), abs=0.2)
    assert (counts == 0).mean() == pytest.approx(np.exp(-1), abs=0.02)


def test_nothing_to_find_and_nothing_found() -> None:
    truth, table = random_scene(1, images=4)
    none = DetectionTable(*(getattr(table, name)[:0] for name in table.__dataclass_fields__))
    counts = image_counts(4, 5, 0)
    draws = figures_of_draws(truth, none, counts)
    assert np.nanmax(draws.figures["AP"]) == 0.0
    ignored = replace(truth, ignored=np.ones_like(truth.ignored))
    draws = figures_of_draws(ignored, table, counts)
    assert np.isnan(draws.figures["AP"]).all() and np.isnan(draws.per_class).all()
    assert interval(draws.figures["AP"]) == (None, None)
