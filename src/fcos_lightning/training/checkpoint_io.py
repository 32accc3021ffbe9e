"""Checkpoints that replace the previous one or leave it alone, whatever happens in between."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from fcos_lightning.checkpoints import read_checkpoint
from fcos_lightning.checkpoints.replacing import replacing
from fcos_lightning.errors import UserError


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the target, then renames.

    Lightning's own writer goes through TMPDIR; across file systems the move is a copy, and a kill
    during it leaves a broken file under the final name.
    """

    def save_checkpoint(
        self,
        checkpoint: dict[str, Any],
        path: str | os.PathLike[str],
        storage_options: Any | None = None,  # noqa: ANN401  # Lightning's signature
    ) -> None:
        """Save a checkpoint; the file of that name stays whole until the new one is on the disk.

        Raises:
            UserError: if it cannot be written, as on a full disk; nothing half written stays.
        """
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with replacing(target) as file:
                torch.save(checkpoint, file)
        except BaseException as error:
            # torch turns the system's error into one of its own about positions in an archive.
            cause = error if isinstance(error, OSError) else error.__context__
            if isinstance(cause, OSError):
                kept = "; the one before is intact" if target.exists() else ""
                raise UserError(f"cannot write {target}: {cause.strerror}{kept}") from error
            raise
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def load_checkpoint(
        self,
        path: str | os.PathLike[str],
        map_location: object = None,
        weights_only: bool | None = None,
    ) -> dict[str, Any]:
        """Return what a checkpoint holds, on the processor; called by Lightning.

        Read as every other checkpoint is, whatever the arguments ask for: nothing that the file
        names is called, and it takes no more memory than it has bytes.

        Raises:
            UserError: if it cannot be read so.
        """
        content: dict[str, Any] = read_checkpoint(Path(path))
        return content


def remove_drafts(folder: Path) -> None:
    """Remove what killed processes left half written in a folder that no other process uses."""
    for draft in folder.glob(".*.ckpt.*"):
        draft.unlink(missing_ok=True)
