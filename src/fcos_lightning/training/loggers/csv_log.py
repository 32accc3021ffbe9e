"""``metrics.csv`` in the run folder, continued when a run is."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.loggers import TensorBoardLogger

from fcos_lightning.lightning_internals import ContinuingCSVLogger, purge_from
from fcos_lightning.storage.replacing import replacing_text
from fcos_lightning.storage.run_folder import RunFolder


class RunCSVLogger(ContinuingCSVLogger):
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
            purge_from(logger, logged["steps"])
