"""Against cases worked by hand, and a naive reading of the paper's sections 2.2 and 2.3."""

import numpy as np
import pytest
from tests.evaluation.scenes import all_overlaps, ground_truth, random_scene, table

from fcos_lightning.evaluation.analysis.tide import KINDS, Errors, costs_of, errors_of
from fcos_lightning.evaluation.coco import coco_summary
from fcos_lightning.evaluation.matches import matched

A, B, FAR = [0.0, 0, 10, 10], [100.0, 100, 120, 120], [300.0, 300, 320, 320]
LOOSE_B = [100.0, 100, 120, 106]  # IoU .3 with B
NEAR_B = [100.0, 100, 120, 118]  # IoU .9 with B


def errors(objects: list, rows: list) -> Errors:
    truth = ground_truth({1: objects}, category_ids=(1, 2))
    return errors_of(matched(truth, table([(1, *row) for row in rows])))


#: What is found beside A by .9; its kind; the cost by hand. Of two objects of a class, finding one
#: reaches 51 of the 101 recalls.
CASES = {
    "box": ([(LOOSE_B, 0.8, 0)], "box", 50 / 101),
    "both": ([(LOOSE_B, 0.95, 1), (B, 0.7, 0)], "both", 0),
    "duplicate": ([(A, 0.8, 0), (B, 0.7, 0)], "duplicate", 50 / 101 / 3),
    "background": ([(FAR, 0.8, 0), (B, 0.7, 0)], "background", 50 / 101 / 3),
    "missed": ([], "missed", 50 / 101),
}


@pytest.mark.parametrize("case", CASES)
def test_a_kind_by_itself(case: str) -> None:
    rows, kind, cost = CASES[case]
    found = errors([(A, 0), (B, 0)], [(A, 0.9, 0), *rows])
    assert found.counts() == {**dict.fromkeys(KINDS, 0), kind: 1}
    expected = {**dict.fromkeys(KINDS, 0.0), kind: cost}
    assert costs_of(found) == pytest.approx(expected)
    # A is found; a loose box says which object it means; the others mean none.
    meant = {"box": [-1, 1], "missed": [-1], "both": [-1, -1, -1]}.get(case, [-1, -1, -1])
    assert sorted(found.near.tolist()) == sorted(meant)


def test_a_class_by_itself() -> None:
    """B, of the second class, is taken for the first: both classes have half of what they could."""
    found = errors([(A, 0), (B, 1)], [(B, 0.9, 0), (A, 0.8, 0)])
    assert found.counts()["class"] == 1 and not found.missed.any()
    # Before: precision 1/2 at every recall of the first class, nothing of the second. After: all.
    assert costs_of(found)["class"] == pytest.approx(1 - (1 / 2 + 0) / 2)
    assert sum(costs_of(found).values()) == pytest.approx(0.75)


def test_both_costs_what_it_stands_before() -> None:
    """A detection of the second class near B of the first is left out."""
    found = errors([(A, 1), (B, 0)], [(LOOSE_B, 0.9, 1), (A, 0.8, 1), (B, 0.7, 0)])
    assert found.counts()["both"] == 1
    assert costs_of(found)["both"] == pytest.approx((1 - 1 / 2) / 2)


def test_of_several_that_would_find_the_same_object_the_strongest_stays() -> None:
    # Two take B for the first class. Corrected, one is right and the other is left out.
    found = errors([(A, 0), (B, 1)], [(B, 0.9, 0), (NEAR_B, 0.85, 0), (A, 0.8, 0)])
    assert found.counts()["class"] == 2
    assert costs_of(found)["class"] == pytest.approx(1 - (1 / 3 + 0) / 2)
    # B is found already, by a weaker detection, which is left out in its place.
    found = errors([(A, 0), (B, 1)], [(B, 0.9, 0), (A, 0.8, 0), (B, 0.3, 1), (FAR, 0.6, 1)])
    assert costs_of(found)["class"] == pytest.approx(1 - (1 / 2 + 1 / 2) / 2)


def test_what_another_error_explains_is_not_missed() -> None:
    assert errors([(B, 0)], [(LOOSE_B, 0.5, 0)]).counts()["missed"] == 0
    assert errors([(B, 0)], [(B, 0.5, 1)]).counts()["missed"] == 0
    assert errors([(B, 0)], [(LOOSE_B, 0.5, 1)]).counts()["missed"] == 1
    assert errors([(B, 0)], [(FAR, 0.5, 0)]).counts()["missed"] == 1


def test_ignored_objects_and_what_lies_on_them_are_no_errors() -> None:
    truth = ground_truth({1: [(A, 0), (B, 0)]}, ignored=[False, True])
    found = errors_of(matched(truth, table([(1, A, 0.9, 0), (1, B, 0.95, 0)])))
    assert sum(found.counts().values()) == 0
    assert costs_of(found) == dict.fromkeys(KINDS, 0.0)


def test_nothing_found_costs_all() -> None:
    found = errors([(A, 0), (B, 1)], [])
    assert found.counts()["missed"] == 2
    assert costs_of(found)["missed"] == 1


def naive(seed: int) -> tuple[dict[str, float], dict[str, int], float]:
    """One detection after the other, as the paper says it."""
    truth, detections = random_scene(seed, steps=10**6)
    matches = matched(truth, detections)
    overlap = all_overlaps(detections.boxes_xyxy, truth.boxes_xyxy)
    objects = range(len(truth.labels))
    kinds, near = {}, {}
    for row in np.flatnonzero(matches.wrong):
        here = [
            (overlap[row, one], one)
            for one in objects
            if matches.images[one] == matches.positions[row] and not truth.ignored[one]
        ]
        same = [(o, i) for o, i in here if truth.labels[i] == detections.labels[row]]
        own = max(same, default=(0, -1))
        other = max(set(here) - set(same), default=(0, -1))
        if 0.1 <= own[0] < 0.5:
            kinds[row], near[row] = "box", own[1]
        elif other[0] >= 0.5:
            kinds[row], near[row] = "class", other[1]
        elif own[0] >= 0.5:
            kinds[row] = "duplicate"
        else:
            kinds[row] = "background" if max(own[0], other[0]) < 0.1 else "both"
    missed = [
        i
        for i in objects
        if not truth.ignored[i] and matches.found_by[i] < 0 and i not in near.values()
    ]

    def ap50(mended: str | None) -> float:
        points = {}  # by class: score, right
        claims = []
        for row in range(len(detections)):
            if matches.right[row]:
                claims.append((matches.scores[row], row, matches.object_of[row]))
            elif matches.wrong[row]:
                if kinds[row] != mended:
                    points.setdefault(detections.labels[row], []).append((matches.scores[row], 0))
                elif mended in ("box", "class"):
                    claims.append((matches.scores[row], row, near[row]))
        taken = set()
        for score, _, one in sorted(claims, reverse=True):
            if one not in taken:
                taken.add(one)
                points.setdefault(truth.labels[one], []).append((score, 1))
        figures = []
        for label in range(3):
            everything = [i for i in objects if truth.labels[i] == label and not truth.ignored[i]]
            number = len([i for i in everything if mended != "missed" or i not in missed])
            wrong_left = any(not right for _, right in points.get(label, []))
            if not everything or (number == 0 and not wrong_left):
                continue
            found = failed = 0
            reached = []
            for _, right in sorted(points.get(label, []), reverse=True):
                found, failed = found + right, failed + 1 - right
                reached.append((found / max(number, 1), found / (found + failed)))
            levels = np.linspace(0, 1, 101)
            best = [max((p for r, p in reached if r >= level), default=0) for level in levels]
            figures.append(np.mean(best) if number else 0.0)
        return float(np.mean(figures)) if figures else 1.0

    base = ap50(None)
    costs = {kind: max(ap50(kind) - base, 0.0) for kind in KINDS}
    counts = {kind: sum(one == kind for one in kinds.values()) for kind in KINDS}
    counts["missed"] = len(missed)
    return costs, counts, base


@pytest.mark.parametrize("seed", range(15))
def test_kinds_and_costs_are_those_of_the_paper(seed: int) -> None:
    truth, detections = random_scene(seed, steps=10**6)
    costs, counts, base = naive(seed)
    found = errors_of(matched(truth, detections))
    assert found.counts() == counts
    assert costs_of(found) == pytest.approx(costs)
    assert coco_summary(truth, detections)["AP50"] == pytest.approx(base)
