"""What finished runs tell of the claims: accuracy over seeds, and what it costs."""

from __future__ import annotations

import csv
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fcos_lightning.data.splits import DataSplit
from fcos_lightning.errors import UserError
from fcos_lightning.inference import Predictor
from fcos_lightning.runs.article.cases import case_name
from fcos_lightning.runs.config.stored import read_plain_yaml
from fcos_lightning.storage.run_folder import RunFolder

#: Images that are timed, after some that are not.
_TIMED, _BEFORE = 20, 3
#: Of the figures of a run those that are told.
FIGURES = ("AP", "AP50", "APs", "APm", "APl")


@dataclass(frozen=True)
class TrainedRun:
    """A run of a case, finished or not.

    Attributes:
        words: of the case.
        folder: of the run.
        done: whether it is finished.
        figures: of its best checkpoint, by their names; empty before the end.
    """

    words: tuple[str, ...]
    folder: Path
    done: bool
    figures: Mapping[str, float]


def trained_numbers(
    runs: Sequence[TrainedRun],
    cases: Sequence[Sequence[str]],
    split: DataSplit,
    advance: Callable[[], None] = lambda: None,
) -> list[dict[str, Any]]:
    """Return a row for each case: what its finished runs measured, None where none is.

    Args:
        runs: of all cases and seeds.
        cases: words of each.
        split: of which images are timed.
        advance: called after each case.
    """
    rows = []
    for words in cases:
        mine = [run for run in runs if run.words == tuple(words)]
        done = [run for run in mine if run.done and "AP" in run.figures]
        row: dict[str, Any] = {"name": case_name(words), "runs": len(mine), "done": len(done)}
        for figure in FIGURES:
            values = [run.figures[figure] for run in done if figure in run.figures]
            row[figure] = round(statistics.mean(values), 6) if values else None
        aps = [run.figures["AP"] for run in done]
        row["spread"] = round(statistics.stdev(aps), 6) if len(aps) > 1 else None
        speeds = [speed for run in done if (speed := _step_ms(RunFolder(run.folder))) is not None]
        row["step_ms"] = round(statistics.median(speeds), 1) if speeds else None
        row["image_ms"] = _image_ms(RunFolder(done[0].folder), split) if done else None
        rows.append(row)
        advance()
    return rows


def _step_ms(run: RunFolder) -> float | None:
    """Return how long a step took, data included, as the run logged it; None: it did not."""
    try:
        with run.metrics_csv.open(newline="", encoding="utf-8") as lines:
            logged = [row.get("speed/images_per_s") for row in csv.DictReader(lines)]
        speeds = [float(one) for one in logged if one]
        config: Any = read_plain_yaml(run.config)
        images = config["data"]["batch_size"] * config["trainer"]["accumulate_grad_batches"]
    except (OSError, ValueError, KeyError, TypeError, csv.Error, UserError):
        return None
    return 1000 * images / statistics.median(speeds) if speeds else None


def _image_ms(run: RunFolder, split: DataSplit) -> float | None:
    """Return how long the best checkpoint takes for an image from its pixels on, the median."""
    try:
        predictor = Predictor.load(run.best)
        times = []
        for image in range(min(_TIMED + _BEFORE, len(split))):
            pixels = split.image(image)
            began = time.perf_counter()
            predictor(pixels)
            times.append(time.perf_counter() - began)
    except UserError:
        return None
    timed = times[_BEFORE:] or times
    return round(1000 * statistics.median(timed), 1)
