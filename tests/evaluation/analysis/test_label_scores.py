"""Scores of labels against plain loops, and which detections are trusted."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from tests.evaluation.label_scenes import LIKELY, SURE, Box, table_of, truth_of

from fcos_lightning.evaluation.analysis.label_scores import judged, label_scores, sure_score
from fcos_lightning.evaluation.matches import matched


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


BOXES = [[20.0 * i, 0, 20.0 * i + 10, 10] for i in range(12)]


def test_detections_are_sure_while_nine_in_ten_are_right() -> None:
    truth = truth_of([[(0, box) for box in BOXES]])
    found = [(0, 0.99 - 0.01 * i, box) for i, box in enumerate(BOXES)]
    astray: list[tuple[int, float, Box]] = [
        (0, 0.5 - 0.1 * i, [200, 100, 220, 120]) for i in range(3)
    ]
    matches = matched(truth, table_of([found + astray]))
    # 12 right ones; with the first wrong one 12 of 13 are, with the second 12 of 14.
    assert sure_score(matches) == 0.5
    one = judged(matches)
    assert one.sure > 0.5 and one.sure <= 0.88  # by the best F1
    assert one.likely == 0.5
    nothing = judged(matched(truth, table_of([astray])))
    assert nothing.sure == np.inf and len(nothing.missed()) == 0


@pytest.mark.parametrize(("astray", "doubted"), [(0, 1), (40, 0)])
def test_a_detector_that_is_seldom_right_doubts_no_place(astray: int, doubted: int) -> None:
    """The first boxes are found where they are, the last one beside; the rest is nothing."""
    x1, y1, x2, y2 = BOXES[-1]
    beside = [x1 + (x2 - x1) / 4, y1, x2 + (x2 - x1) / 4, y2]
    found = [(0, 0.99 - 0.01 * i, box) for i, box in enumerate([*BOXES[:-1], beside])]
    found += [(0, 0.8 - 0.001 * i, [300.0, 200.0, 320.0, 220.0]) for i in range(astray)]
    one = judged(matched(truth_of([[(0, box) for box in BOXES]]), table_of([found])))
    assert np.isfinite(one.sure)
    monitored = replace(one, likely=0.5)
    assert len(monitored.misplaced()) == doubted
    assert len(replace(monitored, sure=np.inf).misplaced()) == 0
