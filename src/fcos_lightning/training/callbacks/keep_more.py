"""Keeps more checkpoints than the best one and the last."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning.pytorch.callbacks import ModelCheckpoint


class KeepMore(ModelCheckpoint):
    """Lightning's ModelCheckpoint, told from others of the same figure by its files' names.

    Lightning knows its checkpoint callbacks by what they look at, so that two that look at AP could
    not be stored in one checkpoint.

    Args:
        save_top_k: how many of the best are kept; -1: those of all epochs.
        filename: of a checkpoint; ``{epoch}`` and ``{step}`` stand for their numbers.
        dirpath: their folder; None: ``checkpoints`` of the run.
        monitor: the figure that decides.
        mode: ``max`` or ``min``: which of its values are good.
        **options: more of Lightning's.
    """

    def __init__(
        self,
        save_top_k: int = 3,
        filename: str = "{epoch}",
        dirpath: str | Path | None = None,
        monitor: str | None = "val/AP",
        mode: str = "max",
        **options: Any,  # noqa: ANN401  # of ModelCheckpoint
    ) -> None:
        super().__init__(
            dirpath=dirpath,
            filename=filename,
            monitor=monitor,
            save_top_k=save_top_k,
            mode=mode,
            **options,
        )

    @property
    def state_key(self) -> str:
        """What Lightning stores its state under."""
        return f"{super().state_key}{self.filename}"
