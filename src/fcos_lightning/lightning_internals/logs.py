"""Logs that go on."""

from __future__ import annotations

import csv
import os
from pathlib import Path

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter

from fcos_lightning.storage.replacing import replacing_text


def purge_from(logger: TensorBoardLogger, step: int) -> None:
    """Have TensorBoard forget what it was told from a step on.

    In public ``purge_step`` is given when the logger is made, and that is before the checkpoint is
    read that a run goes on from.

    Args:
        logger: that has written nothing yet in this process.
        step: the first that will be logged again.
    """
    logger._kwargs["purge_step"] = step  # of the writer it will make


class _ContinuingWriter(ExperimentWriter):
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


class ContinuingCSVLogger(CSVLogger):
    """Goes on with a file that is there, and never empties it.

    In public ``CSVLogger`` takes a folder and a version; the file of a version that is there is
    removed. What writes the file is no argument.
    """

    @property
    @rank_zero_experiment
    def experiment(self) -> ExperimentWriter:
        """Return the writer; Lightning calls it on rank 0 only."""
        if self._experiment is None:
            self._experiment = _ContinuingWriter(log_dir=self.root_dir)
        assert isinstance(self._experiment, ExperimentWriter)
        return self._experiment
