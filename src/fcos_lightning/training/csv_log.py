"""``metrics.csv`` in the run folder, continued when a run is."""

from __future__ import annotations

import csv
import os

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter


class _AppendingWriter(ExperimentWriter):
    """Lightning's writer removes an existing file; this one goes on with it."""

    def _check_log_dir_exists(self) -> None:
        if os.path.isfile(self.metrics_file_path):
            with open(self.metrics_file_path, newline="", encoding="utf-8") as file:
                self.metrics_keys = next(csv.reader(file), [])


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
