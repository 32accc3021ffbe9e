"""The course of a run, from its ``metrics.csv``."""

from __future__ import annotations

import csv
import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from fcos_lightning.reports.contents import rounded

#: Curves are drawn with no more points than this; what is between is averaged.
_POINTS = 300
#: The charts: a name, what their axis means, and which columns they show.
_CHARTS = (
    ("losses", "loss", r"train/(?!lr)(.+)"),
    ("AP", "AP", r"val/(m?AP.*)"),
    ("learning rate", "learning rate", r"speed/(lr)"),
    ("positives by level", "points an image", r"positives/(P\d+|per_image)"),
    ("speed", "images a second", r"speed/(images_per_s)"),
    ("waiting for data", "share of the time", r"speed/(wait_share)"),
)


def course_of(metrics_csv: Path) -> list[dict[str, Any]]:
    """Return the charts of a run, without those that have no numbers.

    Args:
        metrics_csv: may be missing, as for a checkpoint of another project; then there are none.

    Returns:
        For each chart ``name``, ``unit`` and ``series``, each with ``name``, ``steps`` and
        ``values``.
    """
    columns = _columns(metrics_csv)
    charts = []
    for name, unit, pattern in _CHARTS:
        series = []
        for column, points in columns.items():
            match = re.fullmatch(pattern, column)
            if match and points:
                steps, values = _thinned(points)
                series.append(
                    {"name": match[1], "steps": steps.tolist(), "values": rounded(values, 6)}
                )
        if series:
            charts.append({"name": name, "unit": unit, "series": series})
    return charts


def _columns(metrics_csv: Path) -> dict[str, list[tuple[int, float]]]:
    """Read step and value of each column that holds numbers, those that are not left out."""
    columns: dict[str, list[tuple[int, float]]] = {}
    try:
        with metrics_csv.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                step = _number(row.get("step"))
                if step is None:
                    continue
                for name, text in row.items():
                    value = _number(text)
                    if isinstance(name, str) and value is not None:
                        columns.setdefault(name, []).append((int(step), value))
    except (OSError, UnicodeDecodeError, csv.Error):
        return {}  # a report without its course is better than none
    return columns


def _number(text: object) -> float | None:
    try:
        value = float(text)  # type: ignore[arg-type]  # what is no number raises
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None


def _thinned(points: list[tuple[int, float]]) -> tuple[Any, Any]:
    """Average neighbours until no more points are left than can be seen."""
    steps, values = np.array(points, dtype=np.float64).T
    if len(steps) > _POINTS:
        parts = np.array_split(np.arange(len(steps)), _POINTS)
        steps, values = (
            np.array([array[part].mean() for part in parts]) for array in (steps, values)
        )
    return steps.round().astype(np.int64), values
