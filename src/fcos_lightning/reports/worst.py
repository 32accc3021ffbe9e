"""The images that a detector does worst on, with their objects and detections.

An image costs one point for each object that is missed, and the score of each detection that is
wrong, both at the threshold of the report: sure mistakes weigh more than doubtful ones.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fcos_lightning.evaluation.analysis.tide import KINDS, Errors
from fcos_lightning.reports.contents import rounded

#: How an image's cost is counted, for the page.
COST = "one point for each missed object, and for each wrong detection its score"
#: Weaker detections are not shown, nor more of an image than so many.
_WEAKEST, _MOST = 0.05, 100
RIGHT, NEITHER = "right", "neither"


def worst_images(errors: Errors, score: float, most: int = 50) -> dict[str, Any]:
    """Return the images of the highest cost, the highest first; none without a mistake.

    Args:
        errors: of the data set.
        score: weaker detections do not count.
        most: how many images.
    """
    matches = errors.matches
    truth = matches.truth
    missed = matches.counted & (matches.found_score() < score)
    wrong = matches.wrong & (matches.scores >= score)
    lost = np.bincount(matches.images[missed], minlength=len(truth))
    false = np.bincount(matches.positions[wrong], minlength=len(truth))
    weight = np.bincount(matches.positions[wrong], matches.scores[wrong], minlength=len(truth))
    cost = lost + weight
    order = np.lexsort((np.arange(len(truth)), -cost))[:most]
    order = order[cost[order] > 0]
    by_image = np.argsort(matches.positions, kind="stable")
    begin = np.searchsorted(matches.positions[by_image], np.arange(len(truth) + 1))
    images = []
    for image in order.tolist():
        rows = by_image[begin[image] : begin[image + 1]]
        images.append(
            {
                "number": image,
                "id": int(truth.image_ids[image]),
                "file": str(truth.file_names[image]),
                "width": int(truth.sizes_hw[image, 1]),
                "height": int(truth.sizes_hw[image, 0]),
                "cost": round(float(cost[image]), 3),
                "missed": int(lost[image]),
                "wrong": int(false[image]),
                "objects": _objects(errors, image),
                "detections": _detections(errors, rows),
            }
        )
    return {"score": score, "cost": COST, "weakest": _WEAKEST, "images": images}


def _objects(errors: Errors, image: int) -> list[dict[str, Any]]:
    matches = errors.matches
    rows = matches.truth.rows(image)
    return [
        {
            "box": rounded(box, 1),
            "class": int(label),
            "ignored": bool(ignored),
            # Of the detection that found it, at whatever score; null: nothing did.
            "found": round(float(found), 4) if np.isfinite(found) else None,
        }
        for box, label, ignored, found in zip(
            matches.truth.boxes_xyxy[rows],
            matches.truth.labels[rows],
            matches.truth.ignored[rows],
            matches.found_score()[rows],
            strict=True,
        )
    ]


def _detections(errors: Errors, rows: np.ndarray[Any, Any]) -> list[dict[str, Any]]:
    matches = errors.matches
    rows = rows[matches.scores[rows] >= _WEAKEST]
    rows = rows[np.argsort(-matches.scores[rows], kind="stable")][:_MOST]
    return [
        {
            "box": rounded(matches.table.boxes_xyxy[row], 1),
            "class": int(matches.labels[row]),
            "score": round(float(matches.scores[row]), 4),
            "kind": RIGHT
            if matches.right[row]
            else KINDS[errors.kind[row]]
            if matches.wrong[row]
            else NEITHER,
        }
        for row in rows.tolist()
    ]
