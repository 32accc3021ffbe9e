from tests.evaluation.scenes import ground_truth, table

from fcos_lightning.evaluation.analysis.tide import errors_of
from fcos_lightning.evaluation.matches import matched
from fcos_lightning.reports.suspects import labels_to_check


def test_what_a_sure_detection_contradicts_is_listed() -> None:
    boxes = [[20.0 * i, 0, 20.0 * i + 10, 10] for i in range(20)]
    truth = ground_truth({1: [(box, 0) for box in boxes]}, category_ids=(1, 2))
    rows = [(1, box, 0.99 - 0.01 * i, 0) for i, box in enumerate(boxes[:18])]
    rows += [
        (1, boxes[19], 0.85, 1),  # another class
        (1, [300.0, 300, 320, 320], 0.84, 0),  # nothing annotated
        (1, [200.0, 300, 220, 320], 0.3, 0),  # as well, but weak
        (1, [100.0, 300, 120, 320], 0.2, 0),
    ]
    errors = errors_of(matched(truth, table(rows)))
    found = labels_to_check(errors, 0.5)
    assert (found["forgotten"], found["other_class"]) == (1, 1)
    assert [(row["score"], row["detected"], row["annotated"]) for row in found["listed"]] == [
        (0.85, 1, 0),
        (0.84, 0, None),
    ]
    # Of a detector that is seldom right nothing is listed.
    poor = errors_of(matched(truth, table([(1, [300.0, 300, 320, 320], 0.995, 0), *rows[:3]])))
    assert labels_to_check(poor, 0.5) == {
        **{"least": None, "forgotten": 0, "other_class": 0, "listed": []}
    }
