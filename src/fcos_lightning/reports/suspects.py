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
    rows = {"missed": found.missed(), "swapped": found.swapped(), "misplaced": found.misplaced()}
    listed = [
        *(_listed(matches, "missed", scores.missed[row], row, None) for row in rows["missed"]),
        *(
            _listed(matches, "swapped", scores.swapped[row], scores.swapped_by[row], row)
            for row in rows["swapped"]
        ),
        *(
            _listed(matches, "misplaced", scores.misplaced[row], scores.placed_by[row], row)
            for row in rows["misplaced"]
        ),
    ]
    return {
        "least": round(found.sure, 4) if np.isfinite(found.sure) else None,
        **{kind: len(those) for kind, those in rows.items()},
        "listed": sorted(listed, key=lambda one: one["label_score"])[:_LISTED],
    }


def _listed(
    matches: Matches, kind: str, score: float, detection: int, box: int | None
) -> dict[str, Any]:
    truth = matches.truth
    image = int(matches.positions[detection])
    return {
        "kind": kind,
        "label_score": round(float(score), 4),
        "file": str(truth.file_names[image]),
        "id": int(truth.image_ids[image]),
        "box": rounded(matches.table.boxes_xyxy[detection], 1),
        "score": round(float(matches.scores[detection]), 4),
        "detected": int(matches.labels[detection]),
        # null: nothing is annotated there.
        "annotated": int(truth.labels[box]) if box is not None else None,
    }
