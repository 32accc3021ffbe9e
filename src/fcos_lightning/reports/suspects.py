"""Labels that look wrong: where sure detections contradict them, by the doctor's three scores."""

from __future__ import annotations

from typing import Any

import numpy as np

from fcos_lightning.evaluation.analysis.label_scores import judged
from fcos_lightning.evaluation.matches import Matches
from fcos_lightning.reports.contents import rounded

#: Of all, so many are listed, the least likely first.
_LISTED = 30


def labels_to_check(matches: Matches) -> dict[str, Any]:
    """Return how many labels look wrong, and the most doubtful.

    Args:
        matches: of the data set.
    """
    found = judged(matches)
    scores = found.scores
    # Rows of doubted labels, their scores, and the detection and the box of each.
    missed, swapped, misplaced = found.missed(), found.swapped(), found.misplaced()
    doubted = {
        "missed": (missed, scores.missed, missed, np.full(len(missed), -1)),
        "swapped": (swapped, scores.swapped, scores.swapped_by[swapped], swapped),
        "misplaced": (misplaced, scores.misplaced, scores.placed_by[misplaced], misplaced),
    }
    listed = [
        _listed(matches, kind, float(score), detection, box)
        for kind, (rows, of_all, detections, boxes) in doubted.items()
        for score, detection, box in zip(
            of_all[rows].tolist(), detections.tolist(), boxes.tolist(), strict=True
        )
    ]
    return {
        "least": round(found.sure, 4) if np.isfinite(found.sure) else None,
        **{kind: len(rows) for kind, (rows, *_) in doubted.items()},
        "listed": sorted(listed, key=lambda one: one["label_score"])[:_LISTED],
    }


def _listed(matches: Matches, kind: str, score: float, detection: int, box: int) -> dict[str, Any]:
    truth = matches.truth
    image = int(matches.positions[detection])
    return {
        "kind": kind,
        "label_score": round(score, 4),
        "file": str(truth.file_names[image]),
        "id": int(truth.image_ids[image]),
        "box": rounded(matches.table.boxes_xyxy[detection], 1),
        "score": round(float(matches.scores[detection]), 4),
        "detected": int(matches.labels[detection]),
        # null: nothing is annotated there.
        "annotated": int(truth.labels[box]) if box >= 0 else None,
    }
