"""What a predictor runs: a checkpoint in torch or on an engine, or a converted file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fcos_lightning.checkpoints import Checkpoint
from fcos_lightning.detector.dense import DenseDetector
from fcos_lightning.inference.asked import said_sides, sides_of
from fcos_lightning.inference.devices import chosen_device
from fcos_lightning.inference.engines.engine import backend_for, is_file_for_engines
from fcos_lightning.inference.engines.file_detector import FileDetector


def opened(
    path: str | Path,
    backend: str,
    device: str,
    sides: tuple[int | None, int | None],
    options: Mapping[str, Any],
) -> tuple[DenseDetector | FileDetector, tuple[int, int]]:
    """Return a detector, and the shorter and longer side that it wants images resized to.

    Args:
        path: see ``Predictor.load``.
        backend: likewise.
        device: likewise.
        sides: those to use instead, in pixels, each may be None.
        options: ``decoder``, ``recipe``, ``channels_last``, and parts of one's own, each None or
            ``auto`` where nobody asks for it; a converted file takes none.

    Raises:
        UserError: if the file cannot be used so.
    """
    backend = backend_for(path, backend)
    if is_file_for_engines(path):
        from fcos_lightning.inference.engines.opening import open_file, refuse_settled

        refuse_settled(path, [key for key, one in options.items() if one not in (None, "auto")])
        file = open_file(path, backend, device)
        return file, file.sides(*sides)
    chosen = chosen_device(device if backend == "torch" else "cpu")
    recipe, parts = options.get("recipe"), dict(options)
    del parts["recipe"], parts["channels_last"]
    read = Checkpoint.read(path, recipe)
    resized_to = sides_of(read, *sides)
    detector = read.detector(chosen, **parts)
    if backend == "torch":
        return detector, resized_to
    from fcos_lightning.inference.engines.kept import on_engine

    there, _ = on_engine(detector, backend, device, said_sides(read.about))
    return there, resized_to
