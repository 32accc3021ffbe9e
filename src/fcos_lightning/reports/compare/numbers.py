"""The numbers of a comparison, as ``comparison.json`` holds them and the page shows them.

The first run is the one that the others are held against.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import fcos_lightning
from fcos_lightning.evaluation.analysis.bootstrap import (
    FIGURES,
    Draws,
    figures_of_draws,
    image_counts,
    interval,
)
from fcos_lightning.evaluation.analysis.curves import (
    GRID,
    best_threshold,
    counts_at,
    precision_recall,
)
from fcos_lightning.evaluation.coco import coco_summary
from fcos_lightning.evaluation.coco_arrays import RECALLS
from fcos_lightning.evaluation.detections import DetectionTable, class_keys
from fcos_lightning.evaluation.matches import Matches, matched
from fcos_lightning.processors import processor_count
from fcos_lightning.reports.compare.contrasts import (
    AtThreshold,
    contrast,
    contrasting_images,
    objects_of,
)
from fcos_lightning.reports.compare.settings import differences
from fcos_lightning.reports.compare.verdict import verdicts
from fcos_lightning.reports.contents import NO_BEST, rounded
from fcos_lightning.reports.course import course_of
from fcos_lightning.structures import GroundTruth

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Changed where a reader of ``comparison.json`` would have to know.
FORMAT = 1
#: Of all pairs of runs together, so many images are shown.
_IMAGES = 40
#: Of the course of a run only these are drawn over each other.
_CHARTS = ("losses", "AP", "learning rate", "speed", "waiting for data")
_SERIES = {"AP": ("AP", "AP50", "AP75", "mAP_11point", "mAP_area")}


@dataclass(frozen=True, eq=False)
class ComparedRun:
    """A run that was measured on the same images as others.

    Attributes:
        name: for people.
        folder: where it is, for people.
        report: address of its own page, as a link in this one; None: it has none.
        config: its settings.
        table: what it found, in pixels of the original images.
        metrics_csv: its course; may be missing.
    """

    name: str
    folder: str
    report: str | None
    config: Mapping[str, Any]
    table: DetectionTable
    metrics_csv: Path


def comparison_numbers(
    truth: GroundTruth,
    runs: Sequence[ComparedRun],
    split: str,
    resamples: int,
    seed: int,
    advance: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Return what ``comparison.json`` holds.

    Args:
        truth: annotations of the images that all were measured on.
        runs: two or more.
        split: name of those images.
        resamples: how often images are drawn.
        seed: of the draws.
        advance: called ``resamples`` times for each run.
    """
    counts = image_counts(len(truth), resamples, seed)
    matches = [matched(truth, run.table) for run in runs]
    summaries = [coco_summary(truth, run.table) for run in runs]
    threads = processor_count()
    draws = [
        figures_of_draws(truth, run.table, counts, threads=threads, advance=advance) for run in runs
    ]
    looked_at = []
    for one in matches:
        best = best_threshold(one)
        looked_at.append(AtThreshold(one, best.threshold if best else NO_BEST))
    numbers: dict[str, Any] = {
        "format": FORMAT,
        "fcos_lightning": fcos_lightning.__version__,
        "split": split,
        "images": len(truth),
        "objects": int(matches[0].counted.sum()),
        "resamples": resamples,
        "seed": seed,
        "confidence": 0.95,
        "runs": [
            {
                "name": run.name,
                "folder": run.folder,
                "report": run.report,
                "detections": len(run.table),
                "threshold": looked.score,
                **_at(looked),
                "figures": {name: _figure(summary[name], own.figures[name]) for name in FIGURES},
                "against_first": None
                if number == 0
                else {
                    name: _difference(
                        summary[name],
                        summaries[0][name],
                        own.figures[name],
                        draws[0].figures[name],
                    )
                    for name in FIGURES
                },
            }
            for number, (run, summary, own, looked) in enumerate(
                zip(runs, summaries, draws, looked_at, strict=True)
            )
        ],
        "classes": _classes(truth, summaries, draws),
        "settings": differences([run.config for run in runs]),
        "course": _courses(runs),
        "precision_recall": {
            "recall": rounded(RECALLS),
            "runs": [_mean_precision(one) for one in matches],
        },
        "F1": {
            "thresholds": rounded(GRID),
            "runs": [rounded(counts_at(one, GRID, None).f1) for one in matches],
        },
        "pairs": [contrast(looked_at[0], other) for other in looked_at[1:]],
        "shown": _shown(looked_at),
    }
    numbers["verdict"] = verdicts(numbers)
    return numbers


def _figure(value: float | None, drawn: NDArray[np.float64]) -> dict[str, float | None]:
    low, high = interval(drawn)
    return {"value": value, "low": low, "high": high}


def _difference(
    value: float | None,
    first: float | None,
    drawn: NDArray[np.float64],
    drawn_first: NDArray[np.float64],
) -> dict[str, float | None]:
    """How much higher a figure is, between which bounds, and in which share of the draws."""
    between = drawn - drawn_first
    low, high = interval(between)
    known = between[~np.isnan(between)]
    # Draws that differ in nothing speak for neither.
    higher = float((known > 0).mean() + (known == 0).mean() / 2) if len(known) else None
    return {
        "value": None if value is None or first is None else value - first,
        "low": low,
        "high": high,
        "higher": higher,
    }


def _at(looked: AtThreshold) -> dict[str, Any]:
    counts = counts_at(looked.matches, np.array([looked.score]), None)
    return {
        "precision": float(counts.precision[0]),
        "recall": float(counts.recall[0]),
        "F1": float(counts.f1[0]),
        "right_images": int((looked.mistakes == 0).sum()),
    }


def _classes(
    truth: GroundTruth, summaries: Sequence[Mapping[str, Any]], draws: Sequence[Draws]
) -> list[dict[str, Any]]:
    rows = []
    for label, name in enumerate(class_keys(truth)):
        values = [summary["per_class"][name]["AP"] for summary in summaries]
        drawn = [own.per_class[:, label] for own in draws]
        rows.append(
            {
                "name": name,
                "objects": summaries[0]["per_class"][name]["boxes"],
                "AP": [_figure(*one) for one in zip(values, drawn, strict=True)],
                "against_first": [
                    _difference(value, values[0], one, drawn[0])
                    for value, one in zip(values[1:], drawn[1:], strict=True)
                ],
            }
        )
    return rows


def _courses(runs: Sequence[ComparedRun]) -> list[dict[str, Any]]:
    """Charts of the runs, one for each quantity, with a line for each run that has it."""
    charts: dict[tuple[str, str], dict[str, Any]] = {}
    for number, run in enumerate(runs):
        for chart in course_of(run.metrics_csv):
            for series in chart["series"] if chart["name"] in _CHARTS else ():
                wanted = _SERIES.get(chart["name"])
                if wanted is not None and series["name"] not in wanted:
                    continue
                named = chart["name"] if len(chart["series"]) == 1 else series["name"]
                one = charts.setdefault(
                    (chart["name"], named), {"name": named, "unit": chart["unit"], "series": []}
                )
                one["series"].append(
                    {"run": number, "steps": series["steps"], "values": series["values"]}
                )
    order = {name: place for place, name in enumerate(("AP", "losses", *_CHARTS))}
    return [charts[key] for key in sorted(charts, key=lambda key: order.get(key[0], 9))]


def _mean_precision(matches: Matches) -> list[float | None] | None:
    curves = [precision_recall(matches, label) for label in range(len(matches.truth.class_names))]
    known = [curve for curve in curves if curve is not None]
    return rounded(np.mean(known, axis=0)) if known else None


def _shown(looked_at: Sequence[AtThreshold]) -> list[dict[str, Any]]:
    """The images to show: of each pair those that tell the two apart most."""
    truth = looked_at[0].matches.truth
    most = max(_IMAGES // (2 * (len(looked_at) - 1)), 3)
    rows = []
    for number, other in enumerate(looked_at[1:], start=1):
        for better, image in contrasting_images(looked_at[0], other, most):
            rows.append(
                {
                    "number": image,
                    "id": int(truth.image_ids[image]),
                    "file": str(truth.file_names[image]),
                    "width": int(truth.sizes_hw[image, 1]),
                    "height": int(truth.sizes_hw[image, 0]),
                    "other": number,
                    "better": better,
                    "objects": objects_of(looked_at[0].matches, image),
                    "found": [looked_at[0].of_image(image), other.of_image(image)],
                }
            )
    return rows
