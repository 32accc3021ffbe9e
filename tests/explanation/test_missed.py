"""A case made by hand for each reason, from the mapping to the decoder."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

from fcos_lightning.detector.assigners.fcos import FCOSAssigner
from fcos_lightning.detector.decoders.nms import NMSDecoder
from fcos_lightning.detector.grid import Grid
from fcos_lightning.detector.parts import Decoder
from fcos_lightning.explanation.answers import Answers
from fcos_lightning.explanation.fates import KEPT, Fates, fates_of
from fcos_lightning.explanation.mapping import LabelMapping
from fcos_lightning.explanation.missed import REASONS, Missed, missed_because
from fcos_lightning.explanation.sizes import at_size
from fcos_lightning.structures import Detections, Prediction, Target

SIDE = 64
MAPPING = LabelMapping(Grid((8,)), FCOSAssigner(((-1.0, math.inf),), 1.5), 8)

Box = tuple[float, float, float, float]


def point_at(column: int, row: int) -> int:
    return row * (SIDE // 8) + column


@dataclass
class Scene:
    """An image of 64 x 64 pixels with points at 4, 12, ..., of which few say anything."""

    boxes: list[Box]
    labels: list[int] = field(default_factory=lambda: [0, 0, 0])
    says: dict[tuple[int, int], tuple[Box, list[float]]] = field(default_factory=dict)
    decoder: Decoder = field(default_factory=lambda: NMSDecoder(score="class"))
    found: tuple[int, ...] = ()
    threshold: float = 0.3

    def fates(self) -> Fates | None:
        points = MAPPING.points((SIDE, SIDE))
        logits = torch.full((1, len(points.xy), 2), -20.0)
        ltrb = torch.full((1, len(points.xy), 4), 0.5)
        for (column, row), (box, scores) in self.says.items():
            point = point_at(column, row)
            x, y = points.xy[point].tolist()
            logits[0, point] = torch.tensor(scores).logit()
            ltrb[0, point] = torch.tensor([x - box[0], y - box[1], box[2] - x, box[3] - y])
        said = Prediction(logits, ltrb)
        return fates_of(self.decoder, said, points, torch.tensor([SIDE, SIDE]))

    def missed(self) -> list[Missed]:
        sized = at_size(np.array(self.boxes), (SIDE, SIDE), SIDE, SIDE)
        labels = torch.tensor(self.labels)[sized.rows]
        mapped = MAPPING(Target(sized.boxes_xyxy, labels), sized.size_hw)
        answers = Answers()
        lost = answers.add(0, mapped, labels, sized.rows, len(self.boxes))
        assert answers.best_recall == 1 - len(lost) / len(self.boxes)
        found = torch.isin(sized.rows, torch.tensor(self.found, dtype=torch.int64))
        made = (sized.boxes_xyxy, labels, sized.rows, found, lost)
        return missed_because(*made, self.fates(), self.threshold)


ONE: Box = (8.0, 8.0, 32.0, 32.0)  # around the points at 12, 20 and 28


def test_too_small() -> None:
    (missed,) = Scene([(10.0, 10.0, 10.5, 30.0)]).missed()
    assert missed == Missed(0, "too_small")


def test_no_point() -> None:
    # Between the points at 12 and 20.
    (missed,) = Scene([(14.0, 14.0, 18.0, 18.0)]).missed()
    assert (missed.reason, missed.by) == ("no_point", ())
    assert missed.overlap is not None and missed.overlap < 0.5


def test_assigned_to_another_box() -> None:
    # Both hold the point at (12, 12) alone; the smaller one gets it.
    (missed,) = Scene([(7.0, 7.0, 17.0, 17.0), (8.0, 8.0, 16.0, 16.0)], found=(1,)).missed()
    assert (missed.row, missed.reason, missed.by) == (0, "other_box", (1,))


def test_no_box_fits() -> None:
    says = {(2, 2): ((8.0, 8.0, 19.0, 32.0), [0.9, 0.01])}
    (missed,) = Scene([ONE], says=says).missed()
    assert missed.reason == "no_fit" and missed.score is None
    assert missed.overlap == pytest.approx(11 / 24)


def test_score_below_the_threshold() -> None:
    says = {
        (2, 2): ((8.0, 8.0, 32.0, 30.0), [0.2, 0.6]),
        (1, 1): ((8.0, 8.0, 32.0, 31.0), [0.1, 0.01]),
    }
    (missed,) = Scene([ONE], says=says).missed()
    assert missed.reason == "weak" and missed.point == point_at(2, 2)
    assert missed.score == pytest.approx(0.2)
    assert (missed.other, missed.other_score) == (1, pytest.approx(0.6))
    (missed,) = Scene([ONE], says=says, threshold=0.15).missed()
    assert missed.reason != "weak"


def test_suppressed_by_a_box_of_a_neighbour() -> None:
    # The neighbour's box is the stronger one, and NMS leaves one of the two.
    other: Box = (8.0, 8.0, 36.0, 36.0)
    says = {
        (1, 1): (ONE, [0.5, 0.01]),
        (3, 3): (other, [0.8, 0.01]),
        (2, 2): (ONE, [0.45, 0.02]),
    }
    scene = Scene([ONE, other], says=says, found=(1,))
    (missed,) = scene.missed()
    assert (missed.row, missed.reason) == (0, "suppressed")
    assert missed.score == pytest.approx(0.5) and missed.point == point_at(1, 1)
    fates = scene.fates()
    assert fates is not None and missed.candidate is not None
    assert fates.point[missed.candidate] == point_at(3, 3) and fates.fate[missed.candidate] == KEPT


@pytest.mark.parametrize("options", [{"max_detections": 1}, {"topk_per_level": 1}])
def test_left_out(options: dict[str, int]) -> None:
    says = {(2, 2): (ONE, [0.5, 0.01]), (6, 6): ((44.0, 44.0, 60.0, 60.0), [0.8, 0.01])}
    scene = Scene([ONE], says=says, decoder=NMSDecoder(score="class", **options))
    (missed,) = scene.missed()
    assert (missed.reason, missed.point) == ("left_out", point_at(2, 2))


def test_counts_for_another_object() -> None:
    # One box fits both objects, and was matched to the other one.
    twin: Box = (8.0, 8.0, 32.0, 34.0)
    (missed,) = Scene([ONE, twin], says={(2, 2): (twin, [0.9, 0.01])}, found=(1,)).missed()
    assert (missed.row, missed.reason, missed.candidate) == (0, "other_object", 0)


def test_a_decoder_of_ones_own_gives_no_reason() -> None:
    class Own(Decoder):
        def __call__(self, *_: object) -> list[Detections]:
            return []

    lost: Box = (14.0, 14.0, 18.0, 18.0)
    missed = Scene([ONE, lost], decoder=Own()).missed()
    assert [one.reason for one in missed] == ["unknown", "no_point"]


def test_every_reason_has_its_words() -> None:
    told = {"too_small", "no_point", "other_box", "no_fit", "weak", "suppressed", "left_out"}
    assert set(REASONS) == told | {"other_object", "unknown"}


def test_found_objects_are_not_missed() -> None:
    says = {(2, 2): (ONE, [0.9, 0.01])}
    assert Scene([ONE], says=says, found=(0,)).missed() == []
