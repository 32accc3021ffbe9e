"""``report.html``: what a detector learnt, where it fails, what to do next.

Beside it lie ``report.json``, with every number of the page, and ``thresholds.json``. Each file is
replaced whole, the page last: where it is, the others are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fcos_lightning.data.splits import DataSplit
from fcos_lightning.errors import UserError
from fcos_lightning.evaluation.analysis.tide import errors_of
from fcos_lightning.evaluation.detections import DetectionTable
from fcos_lightning.evaluation.matches import matched
from fcos_lightning.reports.advice import Circumstances, advice
from fcos_lightning.reports.charts import line_chart
from fcos_lightning.reports.contents import numbers_of, thresholds_of
from fcos_lightning.reports.course import course_of
from fcos_lightning.reports.page import json_text, page
from fcos_lightning.reports.pictures import picture_uri
from fcos_lightning.reports.suspects import labels_to_check
from fcos_lightning.reports.worst import worst_images
from fcos_lightning.storage.bars import counting_bar
from fcos_lightning.storage.replacing import write_whole
from fcos_lightning.storage.run_folder import RunFolder

#: A page shows the curves of so many classes, and the confusions of so many: those with the most
#: objects, those most often confused. ``report.json`` has all.
_CURVES, _CONFUSED = 200, 30


def write_report(
    run: RunFolder,
    split: DataSplit,
    table: DetectionTable,
    summary: Mapping[str, Any],
    around: Circumstances,
    title: str,
) -> list[Path]:
    """Write the report of a checkpoint into a folder.

    Args:
        run: the folder.
        split: that was measured on.
        table: what was found, in pixels of the original images.
        summary: its figures, what ``coco_summary`` or ``DetectionMetric.compute`` returned.
        around: what is known of the checkpoint beside that.
        title: names the checkpoint, for the heading.

    Returns:
        The files, ``report.html`` first.

    Raises:
        UserError: if a file cannot be written.
    """
    numbers = report_numbers(split, table, summary, around)
    shown = [image["number"] for image in numbers["worst"]["images"]]
    with counting_bar("report", len(shown)) as advance:
        pictures = [_picture(split, number, advance) for number in shown]
    write_whole(json_text(thresholds_of(numbers)), run.thresholds)
    write_whole(json_text(numbers), run.report_numbers)
    write_whole(report_page(numbers, pictures, title), run.report)
    return [run.report, run.report_numbers, run.thresholds]


def report_numbers(
    split: DataSplit,
    table: DetectionTable,
    summary: Mapping[str, Any],
    around: Circumstances,
) -> dict[str, Any]:
    """Return what ``report.json`` holds; see ``write_report``."""
    matches = matched(split.truth, table)
    errors = errors_of(matches)
    numbers = numbers_of(errors, summary, split.name)
    numbers["worst"] = worst_images(errors, numbers["threshold"])
    numbers["labels"] = labels_to_check(matches)
    numbers["course"] = course_of(around.metrics_csv) if around.metrics_csv else []
    numbers["advice"] = advice(numbers, matches, around)
    return numbers


def report_page(numbers: Mapping[str, Any], pictures: list[str | None], title: str) -> str:
    """Return the page.

    Args:
        numbers: of the report.
        pictures: of the worst images, as addresses; None for one that cannot be read.
        title: for the heading.
    """
    curves, recalls = numbers["curves"], numbers["precision_recall"]
    names = ("precision", "recall", "F1")
    found = numbers["calibration"]
    return page(
        "report.html",
        ("boxes.js", "report.js"),
        _shortened(numbers),
        title=title,
        pictures=pictures,
        start=max(round(numbers["threshold"], 2), numbers["worst"]["weakest"]),
        curves=line_chart(
            [{"name": name, "x": curves["thresholds"], "y": curves["all"][name]} for name in names],
            (0, 1),
            (0, 1),
        ),
        precision_recall=line_chart(
            [{"name": "precision", "x": recalls["recall"], "y": recalls["all"] or [0] * 101}],
            (0, 1),
            (0, 1),
        ),
        calibration=line_chart(
            [
                {
                    "name": "share that is right",
                    "x": [score or 0 for score in found["mean_score"]],
                    "y": found["share_right"],
                }
            ],
            (0, 1),
            (0, 1),
        ),
        matrix=_most_confused(numbers["confusion"]),
        course=[
            {
                **chart,
                "chart": line_chart(
                    [{**one, "x": one["steps"], "y": one["values"]} for one in chart["series"]]
                ),
            }
            for chart in numbers["course"]
        ],
    )


def _picture(split: DataSplit, image: int, advance: Callable[[], None]) -> str | None:
    advance()
    try:
        return picture_uri(split.image(image))
    except UserError:
        return None  # the evaluation said so already


def _shortened(numbers: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out of the page what would make it long: curves of the rarest of many classes."""
    objects = [row["objects"] for row in numbers["classes"]]
    shown = set(np.argsort([-number for number in objects], kind="stable")[:_CURVES].tolist())

    def kept(curves: Mapping[str, Any]) -> dict[str, Any]:
        classes = [one if at in shown else None for at, one in enumerate(curves["classes"])]
        return {**curves, "classes": classes}

    return {
        **numbers,
        "curves": kept(numbers["curves"]),
        "precision_recall": kept(numbers["precision_recall"]),
        "confusion": {**numbers["confusion"], "rows": None},  # the template has its own
    }


def _most_confused(confusion: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of the matrix that is shown; the background is always among it."""
    names, matrix = confusion["names"], np.array(confusion["rows"])
    places = np.arange(len(names))
    if len(names) - 1 > _CONFUSED:
        between = matrix[:-1, :-1] - np.diag(np.diag(matrix)[:-1])
        weight = 1e6 * (between.sum(axis=0) + between.sum(axis=1)) + matrix[:-1].sum(axis=1)
        places = np.append(np.sort(np.argsort(-weight, kind="stable")[:_CONFUSED]), len(names) - 1)
    totals = matrix.sum(axis=1)
    return {
        "names": [names[place] for place in places],
        "rows": [
            {"numbers": matrix[place, places].tolist(), "total": int(totals[place])}
            for place in places
        ],
    }
