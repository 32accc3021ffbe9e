from tests.evaluation.scenes import ground_truth, table

from fcos_lightning.evaluation.matches import matched
from fcos_lightning.reports.suspects import labels_to_check


def test_what_sure_detections_contradict_is_listed_the_least_likely_first() -> None:
    boxes = [[20.0 * i, 0, 20.0 * i + 10, 10] for i in range(30)]
    truth = ground_truth({1: [(box, 0) for box in boxes]}, category_ids=(1, 2))
    rows = [(1, box, 0.99 - 0.005 * i, 0) for i, box in enumerate(boxes[:28])]
    rows += [
        (1, boxes[29], 0.95, 1),  # another class
        (1, [300.0, 300, 320, 320], 0.94, 1),  # no object of its class is near
        (1, [200.0, 300, 220, 320], 0.3, 0),  # as well, but weak
        (1, [100.0, 300, 120, 320], 0.2, 0),
    ]
    found = labels_to_check(matched(truth, table(rows)))
    assert (found["missed"], found["swapped"], found["misplaced"]) == (1, 1, 0)
    assert [(row["kind"], row["detected"], row["annotated"]) for row in found["listed"]] == [
        ("swapped", 1, 0),
        ("missed", 1, None),
    ]
    assert [row["label_score"] for row in found["listed"]] == [0.0, 0.06]
    # Of a detector that is seldom right nothing is listed.
    poor = matched(truth, table([(1, [300.0, 300, 320, 320], 0.995, 0), *rows[:3]]))
    assert labels_to_check(poor) == {
        **{"least": None, "missed": 0, "swapped": 0, "misplaced": 0, "listed": []}
    }
