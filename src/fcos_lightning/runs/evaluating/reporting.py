"""The report of a checkpoint that was measured, in the folder of its figures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fcos_lightning.data import DetectionDataModule
from fcos_lightning.detector import DenseDetector
from fcos_lightning.errors import UserError
from fcos_lightning.evaluation.detections import DetectionTable, counted_boxes
from fcos_lightning.storage.run_folder import RunFolder


def report_on(
    checkpoint: Path,
    run: RunFolder,
    datamodule: DetectionDataModule,
    detector: DenseDetector,
    table: DetectionTable,
    summary: Mapping[str, Any],
) -> list[str]:
    """Write ``report.html`` and what lies beside it.

    A checkpoint within a run folder brings the course of its run along.

    Args:
        checkpoint: that was measured.
        run: the folder to write into.
        datamodule: of the images.
        detector: tells its levels.
        table: what it found.
        summary: its figures.

    Returns:
        The names of the files, the page first.

    Raises:
        UserError: if a file cannot be written.
    """
    from fcos_lightning.reports.advice import Circumstances
    from fcos_lightning.reports.report import write_report

    own = checkpoint.parent.name == run.checkpoints.name
    home = RunFolder(checkpoint.parent.parent if own else checkpoint.parent)
    around = Circumstances(
        shorter_side=datamodule.shorter_side,
        longer_side=datamodule.longer_side,
        strides=detector.strides,
        train_boxes=_boxes_learnt_from(datamodule),
        metrics_csv=home.metrics_csv,
    )
    title = "/".join((*home.path.absolute().parts[-2:], checkpoint.name))
    files = write_report(run, datamodule.val, table, summary, around, title)
    return [file.name for file in files]


def _boxes_learnt_from(datamodule: DetectionDataModule) -> list[int] | None:
    """Boxes of each class in the training split; None where it is not at hand."""
    classes = datamodule.val.classes
    try:
        split = datamodule.train
    except UserError:
        return None
    same = split.annotated and split.classes == classes
    return counted_boxes(split.truth).tolist() if same else None
