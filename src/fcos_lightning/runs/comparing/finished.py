"""Folders of finished runs, told from all else before anything is read; nothing slow is loaded."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from fcos_lightning.errors import UserError
from fcos_lightning.storage.run_folder import RunFolder

#: Curves of more runs cannot be told apart.
MOST_RUNS = 8


def check_finished(folders: Sequence[Path]) -> None:
    """Refuse what is no finished run, before anything is read.

    Raises:
        UserError: naming the first.
    """
    if len(folders) < 2:
        raise UserError("give two run folders or more, as fcos-compare runs/NAME/A runs/NAME/B")
    if len(folders) > MOST_RUNS:
        raise UserError(f"{len(folders)} runs: give at most {MOST_RUNS}, or their curves blur")
    seen: dict[Path, Path] = {}
    for folder in folders:
        run = RunFolder(folder)
        if not folder.is_dir():
            raise UserError(f"{folder}: {RunFolder.lacking(folder)}")
        if not run.config.is_file():
            raise UserError(f"{folder}: holds no {run.config.name}, so it is not a run folder")
        for file in (run.metrics, run.predictions, run.best):
            if not file.is_file():
                raise UserError(
                    f"{folder}: holds no {file.relative_to(folder)}, so the run is not finished; "
                    f"go on with it by fcos-train resume={folder}"
                )
        same = seen.setdefault(folder.resolve(), folder)
        if same is not folder:
            raise UserError(f"{folder}: is the same run as {same}; give each run once")


def short_names(folders: Sequence[Path]) -> list[str]:
    """Return what tells these folders apart: their paths below the one that holds them all."""
    full = [folder.absolute() for folder in folders]
    common = Path(os.path.commonpath(full))
    return [str(one.relative_to(common)) if one != common else one.name for one in full]
