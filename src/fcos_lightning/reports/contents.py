"""The numbers of a report, as ``report.json`` holds them and the page shows them.

Whatever stands on the page is in here; a figure that cannot be is null.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

import fcos_lightning
from fcos_lightning.evaluation.analysis.confusion import confusion_matrix
from fcos_lightning.evaluation.analysis.curves import (
    GRID,
    Best,
    Counts,
    best_threshold,
    calibration,
    counts_at,
    precision_recall,
)
from fcos_lightning.evaluation.analysis.groups import (
    CROWDING,
    SIZES,
    ap_by_aspect,
    ap_by_number,
    ap_by_size,
    crowding,
    missed_by,
)
from fcos_lightning.evaluation.analysis.tide import Errors, costs_of
from fcos_lightning.evaluation.coco_arrays import RECALLS
from fcos_lightning.evaluation.detections import class_keys
from fcos_lightning.evaluation.matches import Matches

#: Changed where a reader of ``report.json`` would have to know.
FORMAT = 1
#: Of the threshold that the page begins with where nothing is right at any.
NO_BEST = 0.5
#: What each of TIDE's kinds means, for people.
MEANINGS = {
    "class": "found, but taken for another class",
    "box": "right class, but the box overlaps by .1 to .5 only",
    "both": "wrong class, and the box overlaps by .1 to .5 only",
    "duplicate": "an object that a stronger detection has already",
    "background": "overlaps no object by .1",
    "missed": "an object that nothing found, nor was near",
}


def numbers_of(errors: Errors, summary: Mapping[str, Any], split: str) -> dict[str, Any]:
    """Return all that can be told from detections and ground truth.

    Args:
        errors: of the data set, with the matches at IoU .5.
        summary: what ``coco_summary`` or ``DetectionMetric.compute`` returned.
        split: name of the data that was measured on.
    """
    matches = errors.matches
    truth = matches.truth
    best = best_threshold(matches)
    start = best.threshold if best else NO_BEST
    names = class_keys(truth)
    return {
        "format": FORMAT,
        "fcos_lightning": fcos_lightning.__version__,
        "split": split,
        "images": len(truth),
        "objects": int(matches.counted.sum()),
        "ignored": int(truth.ignored.sum()),
        "detections": len(matches.table),
        "threshold": start,
        "figures": {key: value for key, value in summary.items() if key != "per_class"},
        "best": _best(best),
        "classes": _classes(matches, names, summary.get("per_class", {}), start),
        "groups": {
            "size": ap_by_size(matches),
            "aspect": ap_by_aspect(matches),
            "number": ap_by_number(matches),
        },
        "curves": {
            "thresholds": rounded(GRID),
            "all": _curves(counts_at(matches, GRID, None)),
            "classes": [_curves(counts_at(matches, GRID, label)) for label in range(len(names))],
        },
        "precision_recall": _precision_recall(matches),
        "calibration": _calibration(matches),
        "confusion": {
            "iou": matches.iou,
            "score": start,
            "names": [*names, "background"],
            "rows": confusion_matrix(matches, start).tolist(),
        },
        "errors": _errors(errors, summary),
        "missed": {
            "score": start,
            "size": missed_by(matches, SIZES, np.sqrt(truth.areas_px), start),
            "crowding": missed_by(matches, CROWDING, crowding(matches), start),
        },
    }


def thresholds_of(numbers: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of ``thresholds.json``.

    Args:
        numbers: of the report.
    """
    per_class = {
        row["name"]: row["best"]["threshold"] if row["best"] else None for row in numbers["classes"]
    }
    return {
        "about": "Score thresholds of the highest F1 at IoU .5; null: as overall. For "
        "fcos-predict thresholds=FILE and Predictor.load(..., thresholds=FILE).",
        "split": numbers["split"],
        "overall": numbers["threshold"],
        "per_class": per_class,
    }


def _classes(
    matches: Matches, names: list[str], per_class: Mapping[str, Mapping[str, Any]], start: float
) -> list[dict[str, Any]]:
    detections = np.bincount(matches.labels, minlength=len(names))
    rows = []
    for label, name in enumerate(names):
        counts = counts_at(matches, np.array([start]), label)
        rows.append(
            {
                "name": name,
                "objects": counts.objects,
                "detections": int(detections[label]),
                "AP": per_class.get(name, {}).get("AP"),
                "AP50": per_class.get(name, {}).get("AP50"),
                "at_threshold": {key: values[0] for key, values in _curves(counts).items()},
                "best": _best(best_threshold(matches, label)),
            }
        )
    return rows


def _best(best: Best | None) -> dict[str, float] | None:
    if best is None:
        return None
    return {
        "threshold": best.threshold,
        "precision": best.precision,
        "recall": best.recall,
        "F1": best.f1,
    }


def _curves(counts: Counts) -> dict[str, list[Any]]:
    return {
        "right": counts.right.tolist(),
        "wrong": counts.wrong.tolist(),
        "precision": rounded(counts.precision),
        "recall": rounded(counts.recall),
        "F1": rounded(counts.f1),
    }


def _precision_recall(matches: Matches) -> dict[str, Any]:
    curves = [precision_recall(matches, label) for label in range(len(matches.truth.class_names))]
    known = [curve for curve in curves if curve is not None]
    return {
        "recall": rounded(RECALLS),
        "all": rounded(np.mean(known, axis=0)) if known else None,
        "classes": [None if curve is None else rounded(curve) for curve in curves],
    }


def _calibration(matches: Matches) -> dict[str, Any]:
    found = calibration(matches)
    return {
        "edges": rounded(found.edges),
        "detections": found.detections.tolist(),
        "mean_score": rounded(found.mean_score),
        "share_right": rounded(found.share_right),
        "error": found.error,
    }


def _errors(errors: Errors, summary: Mapping[str, Any]) -> dict[str, Any]:
    counts, costs = errors.counts(), costs_of(errors)
    return {
        "AP50": summary["AP50"],
        "kinds": [
            {"kind": kind, "meaning": MEANINGS[kind], "count": counts[kind], "cost": costs[kind]}
            for kind in counts
        ],
    }


def rounded(values: Any, digits: int = 4) -> list[float | None]:  # noqa: ANN401  # an array
    """Return numbers short enough for a page; None for those that cannot be."""
    return [
        round(value, digits) if math.isfinite(value) else None
        for value in np.asarray(values, dtype=np.float64).tolist()
    ]
