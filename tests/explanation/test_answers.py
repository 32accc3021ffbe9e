"""Sums over images, against loops over their points."""

from __future__ import annotations

import math

import pytest
import torch
from tests.explanation.scenes import crowded

from fcos_lightning.detector.assigners.fcos import FCOSAssigner
from fcos_lightning.detector.grid import Grid
from fcos_lightning.explanation.answers import Answers
from fcos_lightning.explanation.mapping import LabelMapping
from fcos_lightning.structures import Target

RANGES = ((-1.0, 40.0), (40.0, 80.0), (80.0, math.inf))


@pytest.mark.parametrize("radius", [None, 1.5])
def test_sums_are_those_of_loops(radius: float | None) -> None:
    mapping = LabelMapping(Grid((8, 16, 32)), FCOSAssigner(RANGES, radius), 32)
    answers = Answers()
    expected = [[0] * 6 for _ in range(3)]
    boxes = lost = 0
    for seed in range(6):
        target = crowded(seed, boxes=16)
        count = len(target.labels)
        mapped = mapping(target, (128, 128))
        answers.add(seed, mapped, target.labels, torch.arange(count), count)
        of_point: dict[int, set[int]] = {}
        for point, box in zip(mapped.claim_point.tolist(), mapped.claim_box.tolist(), strict=True):
            of_point.setdefault(point, set()).add(box)
        owner = dict(zip(mapped.positive.tolist(), mapped.box.tolist(), strict=True))
        first = 0
        for level, points in enumerate(mapped.points.per_level):
            here = range(first, first + points)
            several = [of_point[point] for point in here if len(of_point.get(point, ())) > 1]
            labels = [{int(target.labels[box]) for box in one} for one in several]
            held = {owner[point] for point in here if point in owner}
            sums = (
                *(points, sum(point in owner for point in here), len(several)),
                *(sum(len(one) > 1 for one in labels), len(held), not held),
            )
            expected[level] = [a + b for a, b in zip(expected[level], sums, strict=True)]
            first += points
        boxes += count
        lost += count - len(set(owner.values()))
        by = {one.row: one.by for one in answers.unanswered if one.image == seed}
        for row, others in by.items():
            claimed = {owner[point] for point, some in of_point.items() if row in some}
            assert set(others) == claimed and row not in owner.values()
    found = [
        [one.points, one.positive, one.ambiguous, one.classes, one.boxes, one.unused]
        for one in answers.levels
    ]
    assert found == expected
    assert sum(row[2] for row in expected) > sum(row[3] for row in expected) > 0
    assert (answers.images, answers.boxes, len(answers.unanswered)) == (6, boxes, lost)
    assert lost > 0 and answers.best_recall == 1 - lost / boxes


def test_a_data_set_without_boxes_has_no_recall() -> None:
    answers = Answers()
    mapped = LabelMapping(Grid((8,)), FCOSAssigner(), 8)(crowded(0, boxes=0), (32, 32))
    answers.add(0, mapped, torch.zeros(0).long(), torch.zeros(0).long(), 0)
    assert answers.best_recall is None and answers.levels[0].unused == 1


def test_boxes_that_vanished_keep_the_numbers_of_the_others() -> None:
    target = Target(torch.tensor([[0.0, 0, 16, 16]]), torch.tensor([0]))
    mapped = LabelMapping(Grid((8,)), FCOSAssigner(), 8)(target, (32, 32))
    answers = Answers()
    (lost,) = answers.add(0, mapped, target.labels, torch.tensor([1]), 2)
    assert (lost.row, lost.reason) == (0, "too_small")
