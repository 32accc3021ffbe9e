"""Functions of version 0.1 that ``Checkpoint`` has taken the place of."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fcos_lightning.checkpoints.checkpoint import Checkpoint
from fcos_lightning.checkpoints.checkpoint import load_detector as load_detector
from fcos_lightning.checkpoints.native import FORMAT, KEY, PREFIX
from fcos_lightning.checkpoints.native import describe as describe
from fcos_lightning.detector import DenseDetector


def read_checkpoint(path: str | Path, recipe: str | None = None) -> dict[str, Any]:
    """Return what a checkpoint holds as a dictionary; ``Checkpoint.read`` gives a value."""
    found = Checkpoint.read(path, recipe)
    return {
        **found.run,
        KEY: {"format": FORMAT, "spec": dict(found.spec), **found.about},
        "state_dict": {f"{PREFIX}{key}": value for key, value in found.weights.items()},
    }


def detector_of(
    content: Mapping[str, Any],
    path: str | Path,
    device: torch.device | str = "cpu",
    decoder: Mapping[str, Any] | None = None,
) -> DenseDetector:
    """Return the detector of what ``read_checkpoint`` gave; ``Checkpoint.detector`` does so."""
    return _value(content, path).detector(device, decoder=decoder)


def load_weights(detector: nn.Module, content: Mapping[str, Any], path: str | Path) -> None:
    """Fill a detector with what ``read_checkpoint`` gave; ``Checkpoint.fill`` does so."""
    _value(content, path).fill(detector)


def initialise(detector: nn.Module, path: str | Path) -> list[str]:
    """Start a detector from the weights that fit it; ``Checkpoint.start`` does so."""
    return list(Checkpoint.read(path).start(detector).fresh)  # type: ignore[arg-type]  # as before


def _value(content: Mapping[str, Any], path: str | Path) -> Checkpoint:
    about = {key: value for key, value in content[KEY].items() if key not in ("format", "spec")}
    state = content["state_dict"]
    weights = {k[len(PREFIX) :]: v for k, v in state.items() if k.startswith(PREFIX)}
    return Checkpoint(Path(path), content[KEY]["spec"], weights, about, {})
