"""Runs of the same images, from their folders to a page.

A run keeps what its best checkpoint finds, in ``predictions.json``, so nothing is evaluated again.
The annotations are read anew, as its configuration says.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig, OmegaConf

from fcos_lightning.checkpoints import Checkpoint
from fcos_lightning.data import DetectionDataModule
from fcos_lightning.data.splits import DataSplit
from fcos_lightning.errors import UserError
from fcos_lightning.evaluation.stored import read_predictions
from fcos_lightning.printing import printable
from fcos_lightning.reports.compare.numbers import ComparedRun
from fcos_lightning.reports.compare.write import write_comparison
from fcos_lightning.runs.comparing.finished import check_finished, short_names
from fcos_lightning.runs.config.description import data_of
from fcos_lightning.runs.config.stored import read_plain_yaml
from fcos_lightning.runs.objects.instantiate import make
from fcos_lightning.storage.run_folder import RunFolder

_GROUND = ("image_ids", "file_names", "first_box", "boxes_xyxy", "labels", "ignored", "areas_px")


@dataclass(frozen=True, eq=False)
class _Finished:
    """A run folder as far as a comparison needs it."""

    run: RunFolder
    config: Mapping[str, Any]
    about: Mapping[str, Any]
    class_names: Sequence[str]
    category_ids: Sequence[int]

    @property
    def folder(self) -> Path:
        return self.run.path


@dataclass(frozen=True, eq=False)
class Comparison:
    """Runs that can be held against each other.

    Attributes:
        split: that all were measured on.
        runs: what is known of each; the others are held against the first.
        folders: of the runs.
    """

    split: DataSplit
    runs: Sequence[ComparedRun]
    folders: Sequence[RunFolder]

    @classmethod
    def of(
        cls,
        folders: Sequence[Path],
        data: DictConfig | None = None,
        names: Sequence[str] | None = None,
    ) -> Comparison:
        """Read finished runs.

        Args:
            folders: of the runs.
            data: a configuration whose ``data`` are the images of all of them; None: what each
                checkpoint says.
            names: of the runs, for people; None: what tells their folders apart.

        Raises:
            UserError: if one is no finished run, or they were not measured on the same.
        """
        check_finished(folders)
        finished = [_read(folder) for folder in folders]
        first, *others = finished
        split = _split(first, data)
        for other in others:
            _check_classes(first, other)
            if data is None and _wanted(other) != _wanted(first):
                _check_same(first, split, other, _split(other, None))
        runs = [
            ComparedRun(
                name=name,
                folder=str(one.folder),
                report=None,
                config=one.config,
                table=read_predictions(one.run.predictions, split.truth),
                metrics_csv=one.run.metrics_csv,
            )
            for name, one in zip(names or short_names(folders), finished, strict=True)
        ]
        return cls(split, runs, [one.run for one in finished])

    def write(
        self,
        out: Path,
        title: str = "Comparison of runs",
        place: Path | None = None,
        resamples: int = 1000,
        seed: int = 0,
        advance: Callable[[], None] = lambda: None,
    ) -> dict[str, Any]:
        """Write the page and its numbers.

        Args:
            out: the folder to write into, which is there.
            title: for the heading.
            place: where the page will lie, for its links to the runs' own; None: ``out``.
            resamples: how often images are drawn.
            seed: of the draws.
            advance: called ``resamples`` times for each run.

        Returns:
            The numbers of ``comparison.json``.

        Raises:
            UserError: if a file cannot be written.
        """
        runs = [
            replace(run, report=_link(folder, place or out))
            for run, folder in zip(self.runs, self.folders, strict=True)
        ]
        return write_comparison(out, self.split, runs, title, resamples, seed, advance)


def _read(folder: Path) -> _Finished:
    run = RunFolder(folder)
    metrics = _metrics(run.metrics)
    if "images_seen" in metrics:
        raise UserError(
            f"{folder}: was measured on {metrics['images_seen']} of {metrics.get('images')} images "
            "only (trainer.limit_val_batches); what is compared has to be measured on all"
        )
    checkpoint = Checkpoint.read(run.best)
    names, ids = (checkpoint.spec.get(key) for key in ("class_names", "category_ids"))
    if names is None or ids is None:
        raise UserError(f"{run.best}: does not name its classes, so it cannot be compared")
    return _Finished(run, read_plain_yaml(run.config), checkpoint.about, tuple(names), tuple(ids))


def _metrics(file: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{file}: cannot be read as figures of a run: {error}") from error
    if not isinstance(content, dict):
        raise UserError(f"{file}: holds no figures of a run")
    return content


def _wanted(finished: _Finished) -> tuple[object, ...]:
    """What decides which images and boxes a run was measured on."""
    data = dict(finished.about.get("data") or {})
    for key in ("batch_size", "eval_batch_size", "num_workers", "shorter_side", "longer_side"):
        data.pop(key, None)
    split = finished.run.split
    shared = split.read_bytes() if split.is_file() else None
    return finished.about.get("data_choice"), data, shared


def _split(finished: _Finished, given: DictConfig | None) -> DataSplit:
    """Read the annotations that a run was measured with."""
    if given is None:
        node = data_of(finished.about)
        if node is None:
            raise UserError(
                f"{finished.folder}: its checkpoint does not say which data; give data=NAME"
            )
        given = OmegaConf.create({"data": node})
    datamodule = make(given, "data", augmentation=None, seed=0)
    if not isinstance(datamodule, DetectionDataModule):
        raise UserError(f"data._target_ gives a {type(datamodule).__name__}, not a data module")
    datamodule.use_split(finished.run.split)
    split = datamodule.read_val(finished.class_names, finished.category_ids)
    if not split.annotated:
        raise UserError(f"{split.name} has no list of annotations to measure against")
    return split


def _check_classes(first: _Finished, other: _Finished) -> None:
    """Refuse runs of different classes.

    Raises:
        UserError: naming the first class that differs.
    """
    ours, theirs = (list(zip(f.class_names, f.category_ids, strict=True)) for f in (first, other))
    if ours == theirs:
        return
    if len(ours) != len(theirs):
        what = f"{len(theirs)} classes, and {first.folder} has {len(ours)}"
    else:
        at = next(i for i in count() if ours[i] != theirs[i])
        what = (
            f"class {printable(theirs[at][0])} (id {theirs[at][1]}) where {first.folder} has "
            f"{printable(ours[at][0])} (id {ours[at][1]})"
        )
    raise UserError(f"{other.folder}: has {what}; only runs of the same classes can be compared")


def _check_same(first: _Finished, ours: DataSplit, other: _Finished, theirs: DataSplit) -> None:
    """Refuse runs that were measured on other images or boxes.

    Raises:
        UserError: saying what differs.
    """
    both = (ours.truth, theirs.truth)
    if all(np.array_equal(*(getattr(truth, name) for truth in both)) for name in _GROUND):
        return
    counts = [f"{len(t)} images with {len(t.labels)} boxes" for t in both]
    raise UserError(
        f"{other.folder}: was measured on other data than {first.folder}: {counts[1]} of "
        f"{printable(theirs.name)}, and {counts[0]} of {printable(ours.name)}; only runs measured "
        "on the same images can be compared"
    )


def _link(run: RunFolder, place: Path) -> str | None:
    """Return the address of a run's own page, relative to the folder of the comparison."""
    if not run.report.is_file():
        return None
    from urllib.parse import quote

    relative = os.path.relpath(run.report.absolute(), place.absolute())
    return quote(relative, errors="surrogateescape")
