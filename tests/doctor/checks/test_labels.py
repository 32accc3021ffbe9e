"""Labels that a detector contradicts: planted mistakes."""

from __future__ import annotations

from pathlib import Path

from tests.evaluation.label_scenes import LIKELY, SURE, table_of, truth_of

from fcos_lightning.data.splits import DataSplit
from fcos_lightning.doctor.check import Examined, ExaminedSet
from fcos_lightning.doctor.checks.labels import MisplacedLabel, MissedLabel, SwappedLabel
from fcos_lightning.doctor.findings import Finding
from fcos_lightning.evaluation.analysis.label_scores import Judged, label_scores
from fcos_lightning.evaluation.detections import DetectionTable
from fcos_lightning.evaluation.matches import matched
from fcos_lightning.structures import GroundTruth


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
