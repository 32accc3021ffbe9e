import numpy as np
import pytest
from tests.evaluation.scenes import ground_truth, random_scene, table

from fcos_lightning.evaluation.analysis.confusion import confusion_matrix
from fcos_lightning.evaluation.analysis.curves import counts_at
from fcos_lightning.evaluation.detections import DetectionTable
from fcos_lightning.evaluation.matches import matched
from fcos_lightning.structures import GroundTruth


def test_by_hand() -> None:
    truth = ground_truth(
        {
            1: [([0, 0, 10, 10], 0), ([20, 0, 30, 10], 1), ([40, 0, 50, 10], 2)],
            2: [([0, 0, 10, 10], 0), ([60, 60, 90, 90], 1)],
        },
        ignored=[False, False, False, False, True],
    )
    rows = [
        (1, [0.0, 0, 10, 10], 0.9, 0),  # right
        (1, [20.0, 0, 30, 9], 0.8, 2),  # class1 taken for class2
        (1, [20.0, 0, 30, 10], 0.7, 0),  # and again, worse in score but better in overlap
        (1, [40.0, 0, 50, 10], 0.2, 2),  # too weak: the object is missed
        (2, [100.0, 0, 120, 10], 0.6, 1),  # nothing there
        (2, [60.0, 60, 90, 90], 0.6, 1),  # on an ignored object: left out
        (2, [0.0, 0, 10, 4], 0.6, 0),  # overlaps too little: the object is missed
    ]
    matrix = confusion_matrix(matched(truth, table(rows)), 0.5)
    assert matrix.tolist() == [
        [1, 0, 0, 1],
        [1, 0, 0, 0],
        [0, 0, 0, 1],
        [1, 1, 1, 0],
    ]


@pytest.mark.parametrize("seed", range(12))
def test_what_is_counted_once_is_counted_once(seed: int) -> None:
    matches = matched(*random_scene(seed))
    for score in (0.0, 0.4, 0.9):
        matrix = confusion_matrix(matches, score)
        judged = (matches.right | matches.wrong) & (matches.scores >= score)
        assert matrix[:, :-1].sum() == judged.sum()
        objects = np.bincount(matches.truth.labels[matches.counted], minlength=3)
        assert matrix[:-1].sum(axis=1).tolist() == objects.tolist()
        # The diagonal is what precision and recall count.
        for label in range(3):
            counts = counts_at(matches, np.array([score]), label)
            assert matrix[label, label] == counts.right[0]
            assert matrix[:, label].sum() == counts.right[0] + counts.wrong[0]


def moved_objects(seed: int) -> tuple[GroundTruth, DetectionTable]:
    """Objects far from each other, each found once, well or not, or by another class."""
    rng = np.random.default_rng(seed)
    images = {}
    rows = []
    for image in range(6):
        boxes = []
        for x in range(0, 400, 80):
            label = int(rng.integers(3))
            box = np.array([x, 10, x + 40, 60], dtype=float)
            boxes.append((box.tolist(), label))
            if rng.random() < 0.2:
                continue
            moved = box + rng.uniform(-14, 14, 4)
            seen = label if rng.random() < 0.6 else int(rng.integers(3))
            rows.append((image, moved.tolist(), float(rng.random()), seen))
        images[image] = boxes
    return ground_truth(images), table(rows)


@pytest.mark.parametrize("seed", range(5))
def test_it_is_supervisions_where_no_two_want_one_object(seed: int) -> None:
    """Where several do, supervision lets the overlap decide, and AP's definition the score."""
    supervision = pytest.importorskip("supervision")
    truth, detections = moved_objects(seed)
    matches = matched(truth, detections)
    targets, found = [], []
    for image in range(len(truth)):
        rows = truth.rows(image)
        targets.append(np.column_stack([truth.boxes_xyxy[rows], truth.labels[rows]]))
        ours = matches.positions == image
        columns = (detections.boxes_xyxy[ours], detections.labels[ours], detections.scores[ours])
        found.append(np.column_stack(columns))
    theirs = supervision.ConfusionMatrix.from_tensors(
        predictions=found,
        targets=targets,
        classes=list(truth.class_names),
        conf_threshold=0.3,
        iou_threshold=0.5,
    )
    assert confusion_matrix(matches, 0.3).tolist() == theirs.matrix.astype(int).tolist()
