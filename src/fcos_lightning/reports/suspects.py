"""Labels that look wrong: where a sure detection contradicts them.

A detector that is right elsewhere is right here too, more often than its score says: a strong
detection where nothing is annotated may be an object that was forgotten, and one that fits a box
well under another name may be a box of the wrong class.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fcos_lightning.evaluation.analysis.tide import KINDS, Errors
from fcos_lightning.reports.contents import rounded

#: A detection has to be as sure as this, and surer than the threshold of the report.
SURE = 0.6
#: Of all, so many are listed, the surest first.
_LISTED = 30
_BACKGROUND, _CLASS = KINDS.index("background"), KINDS.index("class")


def labels_to_check(errors: Errors, score: float) -> dict[str, Any]:
    """Return how many labels look wrong, and the most suspicious.

    Args:
        errors: of the data set.
        score: the threshold of the report.
    """
    matches = errors.matches
    truth = matches.truth
    least = max(score, SURE)
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
        "least": least,
        "forgotten": forgotten,
        "other_class": len(rows) - forgotten,
        "listed": listed,
    }
