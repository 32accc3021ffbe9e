"""The figures for people (a table) and for programs (metrics.json, predictions.json)."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fcos_lightning.evaluation.detections import DetectionTable, xywh_of
from fcos_lightning.printing import class_label, printable
from fcos_lightning.storage.replacing import replacing_text, writable, write_whole
from fcos_lightning.structures import GroundTruth

_MEANINGS = {
    "AP": "IoU .50 to .95, all sizes",
    "AP50": "IoU .50",
    "AP75": "IoU .75",
    "APs": "objects below 32x32 px",
    "APm": "32x32 to 96x96 px",
    "APl": "above 96x96 px",
    "AR1": "recall, 1 detection per image",
    "AR10": "recall, 10 detections per image",
    "AR100": "recall, 100 detections per image",
    "ARs": "recall, below 32x32 px",
    "ARm": "recall, 32x32 to 96x96 px",
    "ARl": "recall, above 96x96 px",
    "mAP_11point": "VOC2007, IoU .50",
    "mAP_area": "VOC2010 and later, IoU .50",
}


def print_table(
    summary: Mapping[str, Any],
    console: Console | None = None,
    split: str | None = None,
    left_out: Mapping[str, int] | None = None,
) -> None:
    """Print the figures, first of all classes together, then of each class, then what to know.

    Args:
        summary: what `coco_summary` or `DetectionMetric.compute` returned.
        console: where to print; standard output by default.
        split: name of the images that the figures are of.
        left_out: how many boxes of the ground truth the figures leave out, by reason.
    """
    console = console or Console()
    on = "" if split is None else f" on {escape(printable(split, 60))}"
    overall = Table(title=f"Detection figures{on} (higher is better)", title_justify="left")
    overall.add_column("figure")
    overall.add_column("value", justify="right")
    overall.add_column("meaning")
    for name, meaning in _MEANINGS.items():
        if name in summary:
            overall.add_row(name, _shown(summary[name]), meaning)
    console.print(overall)

    rows: Mapping[str, Mapping[str, Any]] = summary.get("per_class", {})
    if rows:
        console.print(_table_of_classes(rows))
    for line in _foot(summary, left_out or {}):
        console.print(line, soft_wrap=True, highlight=False, markup=False)


def _foot(summary: Mapping[str, Any], left_out: Mapping[str, int]) -> Iterator[str]:
    """Say what the figures are not of."""
    if "images_seen" in summary:
        yield f"of {summary['images_seen']} of {summary['images']} images, the only ones looked at"
    if "AP" in summary and summary["AP"] is None:
        yield "the split has no box to be found, so there is no AP"
    for reason, number in left_out.items():
        yield (
            f"{number} boxes {reason} are left out; pycocotools on the same file counts them as "
            "missed, so that its figures are lower"
        )


def _table_of_classes(rows: Mapping[str, Mapping[str, Any]]) -> Table:
    columns = list(next(iter(rows.values())))
    by_class = Table(title="By class", title_justify="left")
    by_class.add_column("class")
    for column in columns:
        by_class.add_column(column, justify="right")
    for name, row in rows.items():
        cells = (_shown(row[column]) for column in columns)
        by_class.add_row(escape(class_label(name)), *cells)
    return by_class


def _shown(figure: float | int | None) -> str:
    if figure is None:
        return "-"  # no ground truth of that kind
    return str(figure) if isinstance(figure, int) else f"{figure:.3f}"


def write_metrics(summary: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Write the figures as JSON; null stands for "no ground truth of that kind".

    Args:
        summary: what `coco_summary` or `DetectionMetric.compute` returned.
        path: file to write or replace.

    Raises:
        UserError: if the file cannot be written.
        ValueError: if a figure is not finite, which JSON cannot say.
    """
    write_whole(json.dumps(summary, indent=2, allow_nan=False) + "\n", Path(path))


def write_predictions(
    table: DetectionTable, truth: GroundTruth, path: str | os.PathLike[str]
) -> None:
    """Write detections in COCO's results format, one to a line, with the data set's own ids.

    Numbers are written in full, so that evaluating the file gives the figures to the last bit.

    Args:
        table: detections in pixels of the original images.
        truth: gives the file names and the ids of the classes.
        path: file to write or replace.

    Raises:
        UserError: if the file cannot be written.
        ValueError: if an image id or a label is unknown to ``truth``.
    """
    positions = table.image_positions(truth)
    file_names = [json.dumps(name) for name in truth.file_names.tolist()]
    rows = zip(
        table.image_ids.tolist(),
        positions.tolist(),
        table.labels.tolist(),
        xywh_of(table.boxes_xyxy).tolist(),
        table.scores.astype(np.float64).tolist(),
        strict=True,
    )
    path = Path(path)
    with writable(path), replacing_text(path) as file:
        file.write("[")
        for number, (image_id, position, label, bbox, score) in enumerate(rows):
            file.write(",\n" if number else "\n")
            file.write(
                f'{{"image_id": {image_id}, "category_id": {truth.category_ids[label]}, '
                f'"bbox": {json.dumps(bbox)}, "score": {score!r}, '
                f'"file_name": {file_names[position]}}}'
            )
        file.write("\n]\n")
