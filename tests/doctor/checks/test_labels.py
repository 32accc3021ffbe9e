"""Labels that a detector contradicts: the scores against plain loops, and planted mistakes."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from fcos_lightning.data.index import DataSplit
from fcos_lightning.doctor.check import Examined, ExaminedSet
from fcos_lightning.doctor.checks.labels import MisplacedLabel, MissedLabel, SwappedLabel
from fcos_lightning.doctor.findings import Finding
from fcos_lightning.doctor.label_scores import Judged, label_scores
from fcos_lightning.evaluation.detections import DetectionTable
from fcos_lightning.evaluation.matches import matched
from fcos_lightning.structures import GroundTruth

Box = list[float]
SURE, LIKELY = 0.7, 0.4


def truth_of(images: list[list[tuple[int, Box]]], ignored: list[bool] | None = None) -> GroundTruth:
    rows = [row for image in images for row in image]
    counts = [len(image) for image in images]
    return GroundTruth(
        image_ids=np.arange(len(images)) + 10,
        file_names=np.array([f"{i}.png" for i in range(len(images))]),
        sizes_hw=np.tile([200, 300], (len(images), 1)),
        first_box=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        boxes_xyxy=np.array([box for _, box in rows], dtype=float).reshape(-1, 4),
        labels=np.array([label for label, _ in rows], dtype=np.int64),
        ignored=np.array(ignored or [False] * len(rows), dtype=bool),
        areas_px=np.ones(len(rows)),
        class_names=("cat", "dog", "cow"),
        category_ids=(1, 2, 3),
    )


def table_of(images: list[list[tuple[int, float, Box]]]) -> DetectionTable:
    rows = [(i + 10, *row) for i, image in enumerate(images) for row in image]
    return DetectionTable(
        np.array([row[0] for row in rows], dtype=np.int64),
        np.array([row[3] for row in rows], dtype=float).reshape(-1, 4),
        np.array([row[2] for row in rows], dtype=float),
        np.array([row[1] for row in rows], dtype=np.int64),
    )


def similar(found: Box, box: Box) -> float:
    across = min(found[2], box[2]) - max(found[0], box[0])
    along = min(found[3], box[3]) - max(found[1], box[1])
    shared = max(across, 0) * max(along, 0)
    areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (found, box)]
    apart = math.dist(
        [(found[0] + found[2]) / 2, (found[1] + found[3]) / 2],
        [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2],
    )
    diagonal = math.dist(box[:2], box[2:])
    return 0.9 * shared / (sum(areas) - shared) + 0.1 * math.exp(-apart / diagonal)


@pytest.mark.parametrize("seed", range(6))
def test_the_scores_against_plain_loops(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fcos_lightning.evaluation.detections.PAIRS_AT_A_TIME", 4)
    rng = np.random.default_rng(seed)

    def box() -> Box:
        corner = rng.uniform(0, 120, 2)
        return [*corner.tolist(), *(corner + rng.uniform(20, 90, 2)).tolist()]

    images = [[(int(rng.integers(3)), box()) for _ in range(rng.integers(0, 6))] for _ in range(5)]
    ignored = (rng.random(sum(map(len, images))) < 0.2).tolist()
    found = [
        [(int(rng.integers(3)), float(rng.random()), box()) for _ in range(rng.integers(0, 9))]
        for _ in range(5)
    ]
    truth, table = truth_of(images, ignored), table_of(found)
    scores = label_scores(matched(truth, table), SURE, LIKELY)
    row = 0
    for image, detections in zip(images, found, strict=True):
        for label, score, corners in detections:
            own = [similar(corners, box) for kind, box in image if kind == label]
            if score >= SURE:
                wanted = max(own) if own else 1 - score
                assert scores.missed[row] == pytest.approx(wanted)
            else:
                assert math.isnan(scores.missed[row])
            row += 1
    row = 0
    for image, detections in zip(images, found, strict=True):
        for kind, box_ in image:
            own = [similar(c, box_) for label, s, c in detections if label == kind and s >= LIKELY]
            other = [similar(c, box_) for label, s, c in detections if label != kind and s >= SURE]
            if not ignored[row]:
                assert scores.misplaced[row] == pytest.approx(max(own) if own else 1.0)
                assert scores.swapped[row] == pytest.approx(1 - max(other) if other else 1.0)
            row += 1
    assert row == len(truth.labels)


def told(truth: GroundTruth, table: DetectionTable, check: type) -> list[Finding]:
    matches = matched(truth, table)
    judged = Judged(matches, label_scores(matches, SURE, LIKELY), SURE, LIKELY)
    split = DataSplit(truth, Path("/nowhere"), {}, "train")
    return list(check()(Examined([ExaminedSet("train", split, judged=judged)])))


RIGHT = [[(0, [10.0, 10, 90, 90]), (1, [150.0, 20, 280, 150])], [(2, [40.0, 40, 200, 160])]]
FOUND = [
    [(0, 0.9, [11.0, 9, 91, 90]), (1, 0.8, [152.0, 20, 279, 149])],
    [(2, 0.95, [41.0, 41, 199, 161]), (0, 0.2, [5.0, 5, 30, 30])],
]
CHECKS = (MissedLabel, MisplacedLabel, SwappedLabel)


def test_right_labels_are_not_doubted() -> None:
    for check in CHECKS:
        assert told(truth_of(RIGHT), table_of(FOUND), check) == []


def test_a_label_that_was_missed() -> None:
    truth = truth_of([RIGHT[0][:1], RIGHT[1]])
    (finding,) = told(truth, table_of(FOUND), MissedLabel)
    assert finding.image == 0 and finding.found == (152, 20, 279, 149)
    assert finding.message == "dog, detected with 0.80, is not annotated"
    assert not any(told(truth, table_of(FOUND), check) for check in CHECKS[1:])


def test_a_box_that_was_shifted() -> None:
    truth = truth_of([[RIGHT[0][0], (1, [190.0, 60, 320, 190])], RIGHT[1]])
    (finding,) = told(truth, table_of(FOUND), MisplacedLabel)
    assert finding.box == (190, 60, 320, 190) and finding.found == (152, 20, 279, 149)
    assert finding.score is not None and 0.3 < finding.score < 0.6
    assert not any(told(truth, table_of(FOUND), check) for check in (MissedLabel, SwappedLabel))


def test_a_box_of_another_class() -> None:
    truth = truth_of([RIGHT[0], [(0, RIGHT[1][0][1])]])
    (finding,) = told(truth, table_of(FOUND), SwappedLabel)
    assert finding.message == "cat is cow to the detector, with 0.95" and finding.image == 1
    assert not any(told(truth, table_of(FOUND), check) for check in (MissedLabel, MisplacedLabel))


def test_the_most_doubtful_comes_first() -> None:
    truth = truth_of([[], []])
    scores = [
        float(f.message.split("with ")[1][:4]) for f in told(truth, table_of(FOUND), MissedLabel)
    ]
    assert scores == [0.95, 0.9, 0.8]


def test_what_is_not_sure_says_nothing() -> None:
    doubtful = [[(label, 0.6, box) for label, _, box in image] for image in FOUND]
    for check in (MissedLabel, SwappedLabel):
        assert told(truth_of([[], []]), table_of(doubtful), check) == []
