"""``metrics.csv`` in the run folder, continued when a run is."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L
from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter

from fcos_lightning.storage.replacing import replacing_text
from fcos_lightning.storage.run_folder import RunFolder


class _AppendingWriter(ExperimentWriter):
    """Lightning's writer removes an existing file; this one goes on with it."""

    def _check_log_dir_exists(self) -> None:
        if os.path.isfile(self.metrics_file_path):
            with open(self.metrics_file_path, newline="", encoding="utf-8") as file:
                self.metrics_keys = next(csv.reader(file), [])

    def _rewrite_with_new_header(self, fieldnames: list[str]) -> None:
        """Lightning empties the file and fills it again; a kill in between would lose the log."""
        with open(self.metrics_file_path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        with replacing_text(Path(self.metrics_file_path), newline="") as file:
            writer = csv.DictWriter(file, fieldnames=fieldnames)
            writer.writeheader()
            writer.writerows(rows)


class RunCSVLogger(CSVLogger):
    """Writes ``metrics.csv`` into a folder.

    Args:
        folder: the run folder.
        flush_logs_every_n_steps: how often rows reach the file.
    """

    def __init__(self, folder: str, flush_logs_every_n_steps: int = 100) -> None:
        super().__init__(
            save_dir=folder, name="", version="", flush_logs_every_n_steps=flush_logs_every_n_steps
        )

    @property
    @rank_zero_experiment
    def experiment(self) -> ExperimentWriter:
        """Return the writer; Lightning calls it on rank 0 only."""
        if self._experiment is None:
            self._experiment = _AppendingWriter(log_dir=self.root_dir)
        assert isinstance(self._experiment, ExperimentWriter)
        return self._experiment

    @property
    def file(self) -> Path:
        """``metrics.csv``."""
        return RunFolder(Path(self.root_dir)).metrics_csv

    def rows(self) -> int:
        """Return the number of rows in the file, without its heading."""
        if not self.file.is_file():
            return 0
        with self.file.open(newline="", encoding="utf-8") as file:
            return max(sum(1 for _ in csv.reader(file)) - 1, 0)

    def forget_after(self, rows: int) -> None:
        """Drop what was logged after a checkpoint: a run that goes on from it logs it again.

        Args:
            rows: how many to keep.
        """
        if not self.file.is_file():
            return
        with self.file.open(newline="", encoding="utf-8") as file:
            kept = [row for row, _ in zip(csv.reader(file), range(rows + 1), strict=False)]
        with replacing_text(self.file, newline="") as file:
            csv.writer(file).writerows(kept)


def rewind_logs(trainer: L.Trainer, checkpoint: Mapping[str, Any]) -> None:
    """Drop from the logs what came after a checkpoint, since the run will log it again.

    Args:
        trainer: whose loggers wrote them.
        checkpoint: its content.
    """
    logged = checkpoint.get("fcos_logged")
    if not logged:
        return
    for logger in trainer.loggers:
        if isinstance(logger, RunCSVLogger) and logged["csv_rows"] is not None:
            logger.forget_after(logged["csv_rows"])
        elif isinstance(logger, TensorBoardLogger):
            logger._kwargs["purge_step"] = logged["steps"]  # of the writer it will make
