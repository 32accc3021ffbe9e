"""Labels that look wrong: where a sure detection contradicts them.

Where a detector is nearly always right, it may be right against a label, too: a strong detection
where nothing is annotated may be an object that was forgotten, and one that fits a box well under
another name may be a box of the wrong class. One that is seldom right says nothing of labels.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fcos_lightning.evaluation.analysis.tide import KINDS, Errors
from fcos_lightning.evaluation.matches import Matches
from fcos_lightning.reports.contents import rounded

#: Of the detections that are as strong as those looked at, or stronger, so many have to be right.
_SHARE_RIGHT = 0.9
#: Of all, so many are listed, the surest first.
_LISTED = 30
_BACKGROUND, _CLASS = KINDS.index("background"), KINDS.index("class")


def labels_to_check(errors: Errors, score: float) -> dict[str, Any]:
    """Return how many labels look wrong, and the most suspicious.

    Args:
        errors: of the data set.
        score: the threshold of the report; no weaker detection is looked at.
    """
    matches = errors.matches
    truth = matches.truth
    least = max(score, sure_score(matches))
    rows = np.flatnonzero((matches.scores >= least) & np.isin(errors.kind, (_BACKGROUND, _CLASS)))
    order = rows[np.argsort(-matches.scores[rows], kind="stable")]
    forgotten = int((errors.kind[rows] == _BACKGROUND).sum())
    listed = []
    for row in order[:_LISTED].tolist():
        image = int(matches.positions[row])
        near = int(errors.near[row])
        listed.append(
            {
                "file": str(truth.file_names[image]),
                "id": int(truth.image_ids[image]),
                "box": rounded(matches.table.boxes_xyxy[row], 1),
                "score": round(float(matches.scores[row]), 4),
                "detected": int(matches.labels[row]),
                # null: nothing is annotated there.
                "annotated": int(truth.labels[near]) if near >= 0 else None,
            }
        )
    return {
        "least": round(least, 4) if np.isfinite(least) else None,
        "forgotten": forgotten,
        "other_class": len(rows) - forgotten,
        "listed": listed,
    }


def sure_score(matches: Matches) -> float:
    """Return the lowest score of which, and above which, nearly all detections are right."""
    judged = np.flatnonzero(matches.right | matches.wrong)
    order = judged[np.argsort(-matches.scores[judged], kind="stable")]
    right = np.cumsum(matches.right[order]) / np.arange(1, len(order) + 1)
    sure = np.flatnonzero(right >= _SHARE_RIGHT)
    return float(matches.scores[order[sure[-1]]]) if len(sure) else np.inf
