"""Checkpoints that replace the previous one or leave it alone, whatever happens in between."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from fcos_lightning.errors import UserError, shown
from fcos_lightning.storage.replacing import replacing
from fcos_lightning.weights.reading import read_file

#: What Lightning looks at before anything else.
_OF_A_RUN = {"pytorch-lightning_version": str, "epoch": int, "global_step": int, "state_dict": dict}


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes beside the target, then renames; reads plain data and tensors, and nothing else.

    Lightning's own writer goes through TMPDIR; across file systems the move is a copy, and a kill
    during it leaves a broken file under the final name. Its reader would run what a file says, or
    make gigabytes of it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._loaded: tuple[Path, dict[str, Any]] | None = None

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
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with replacing(target) as file:
                torch.save(checkpoint, file)
        except BaseException as error:
            # torch turns the system's error into one of its own about positions in an archive.
            cause = error if isinstance(error, OSError) else error.__context__
            if isinstance(cause, OSError):
                kept = "; the one before is intact" if os.path.isfile(target) else ""
                raise UserError(f"cannot write {target}: {cause.strerror}{kept}") from error
            raise

    def load_checkpoint(
        self,
        path: str | os.PathLike[str],
        map_location: object = None,
        weights_only: bool | None = None,
    ) -> dict[str, Any]:
        """Read a checkpoint of a run onto the processor, whatever else is asked for.

        Raises:
            UserError: if it cannot be read, or is not what a run writes.
        """
        file = Path(path)
        content = read_file(file, "checkpoint", exact=True)
        if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
            raise UserError(f"{file}: is not a checkpoint of a run")
        for key, kind in _OF_A_RUN.items():
            if not isinstance(content.get(key), kind):
                raise UserError(
                    f"{file}: is not a checkpoint of a run: its {key} is {shown(content.get(key))}"
                )
        self._loaded = file, content
        return content

    def take_loaded(self) -> tuple[Path, dict[str, Any]] | None:
        """Return the checkpoint that was read last, once, and its file."""
        loaded, self._loaded = self._loaded, None
        return loaded

    def remove_checkpoint(self, path: str | os.PathLike[str]) -> None:
        """Remove a checkpoint; the name may come from another one, so never anything else."""
        file = Path(path)
        if file.suffix == ".ckpt" and file.is_file():
            file.unlink()
