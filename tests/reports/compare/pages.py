"""A comparison of runs whose names are made to break a page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from tests.reports.pages import detections_of, hostile_split, write_course

from fcos_lightning.evaluation.detections import DetectionTable
from fcos_lightning.reports.compare.numbers import ComparedRun
from fcos_lightning.reports.compare.write import write_comparison

#: Names of runs: markup, quotes, right to left, emoji.
RUNS = ("<b>first</b>", "\"second\" & 'more'", "ריצה 🦄")


def hostile_comparison(folder: Path, resamples: int = 60) -> tuple[Path, dict[str, Any]]:
    """Write the comparison of three such runs; the first finds least."""
    images = folder / "images"
    images.mkdir()
    split, table = hostile_split(images)
    rng = np.random.default_rng(5)
    fewer = np.flatnonzero(rng.random(len(table)) < 0.4)
    first = DetectionTable(
        table.image_ids[fewer], table.boxes_xyxy[fewer], table.scores[fewer], table.labels[fewer]
    )
    runs = [
        ComparedRun(
            name=name,
            folder=f"runs/{name}",
            report=None if number else "<b>/report.html",
            config={
                "run_dir": f"/somewhere/{number}",
                "schedule": {"lr": 0.01 / (number + 1), "decay": f"<i>step {number}</i>"},
                **({"only": ["here", {"deep": True}]} if number == 1 else {}),
            },
            table=found,
            metrics_csv=write_course(folder / f"{number}.csv")
            if number < 2
            else folder / "missing.csv",
        )
        for number, (name, found) in enumerate(
            zip(RUNS, (first, table, detections_of(split.truth, rng)), strict=True)
        )
    ]
    out = folder / "out"
    out.mkdir()
    numbers = write_comparison(out, split, runs, "Comparison of <b>runs</b>", resamples, 0)
    return out, numbers
