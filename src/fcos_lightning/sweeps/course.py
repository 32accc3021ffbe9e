"""How far a run has come, read from its folder."""

from __future__ import annotations

import csv
import json
import math
from contextlib import suppress
from pathlib import Path

from fcos_lightning.storage.run_folder import RunFolder

#: Those that a sweep compares its jobs by.
FIGURES = ("AP", "AP50", "APs", "APm", "APl")


def ap_by_epoch(run_folder: Path) -> dict[int, float]:
    """Return the validation AP of each epoch that ``metrics.csv`` knows; none is in order."""
    file = RunFolder(run_folder).metrics_csv
    if not file.is_file():
        return {}
    try:
        with file.open(newline="", encoding="utf-8", errors="replace") as lines:
            rows = [row for row in csv.DictReader(lines) if row.get("val/AP")]
    except csv.Error:  # a file of another make
        return {}
    found = {}
    for row in rows:
        try:
            found[int(float(row["epoch"]))] = float(row["val/AP"])
        except (KeyError, TypeError, ValueError, OverflowError):  # a line that is being written
            continue
    return found


def best_ap(run_folder: Path) -> float | None:
    """Return the AP of a run: that of its report, else the best of its epochs, else None."""
    ap = measured(run_folder).get("AP")
    return ap if ap is not None else max(ap_by_epoch(run_folder).values(), default=None)


def measured(run_folder: Path) -> dict[str, float]:
    """Return the figures of a run's own report, those that it has; none before it is finished."""
    try:
        content = json.loads(RunFolder(run_folder).metrics.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    found = {}
    for name in FIGURES if isinstance(content, dict) else ():
        with suppress(TypeError, ValueError, OverflowError):
            found[name] = float(content.get(name))
    return {name: value for name, value in found.items() if math.isfinite(value)}


def can_go_on(run_folder: Path) -> bool:
    """Tell whether a run left a checkpoint to go on from."""
    run = RunFolder(run_folder)
    return run.last.is_file() and run.config.is_file()


def has_begun(run_folder: Path) -> bool:
    """Tell whether a run has come as far as its first figures, or left anything as late as those.

    A run that is refused before its first step leaves nothing, one that crashes there its
    configuration and empty logs.
    """
    run = RunFolder(run_folder)
    if not run_folder.is_dir():
        return False
    if any(run.checkpoints.glob("*.ckpt")) or any(run.previews.glob("*")):
        return True
    if {entry.name for entry in run_folder.iterdir()} - RunFolder.OF_A_BEGINNING:
        return True
    with suppress(OSError), run.metrics_csv.open("rb") as file:
        return len(file.read(10_000).splitlines()) > 1
    return False
