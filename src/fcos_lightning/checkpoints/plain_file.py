"""Our plain format: a ``.safetensors`` file, the description of the detector as JSON in its header.

Such a file holds numbers alone, so that reading it can run nothing, and other tools can read it.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from fcos_lightning.errors import UserError
from fcos_lightning.storage.replacing import write_whole

KEY = "fcos"
SUFFIX = ".safetensors"
#: Of the detector's weights in a checkpoint.
PREFIX = "detector."


def plain_content(path: Path) -> dict[str, Any] | None:
    """Return what such a file holds in the form of a checkpoint of ours; None if it is not ours.

    Raises:
        UserError: if its description is no JSON.
    """
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            described = (file.metadata() or {}).get(KEY)
            if described is None:
                return None
            weights = {f"{PREFIX}{key}": file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        return {KEY: json.loads(described), "state_dict": weights}
    except SafetensorError:
        return None
    except json.JSONDecodeError as error:
        raise UserError(f"checkpoint {path}: its description is no JSON ({error})") from error


def weights_of(content: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the detector's weights; with EMA these are the averaged ones."""
    return {
        key[len(PREFIX) :]: value
        for key, value in content["state_dict"].items()
        if key.startswith(PREFIX)
    }


def write_plain(content: Mapping[str, Any], path: Path) -> None:
    """Write a checkpoint's weights and description; replaces a file of that name at once.

    Args:
        content: of a checkpoint, as ``read_checkpoint`` gives it.
        path: of the new file.

    Raises:
        UserError: if it cannot be written.
    """
    weights = {key: value.contiguous() for key, value in weights_of(content).items()}
    write_whole(save(weights, {KEY: json.dumps(content[KEY])}), path)


def write_weights(weights: Mapping[str, Tensor], path: Path) -> None:
    """Write named tensors alone: ``.safetensors``, else as ``torch.save`` does.

    Raises:
        UserError: if it cannot be written.
    """
    contiguous = {key: value.contiguous() for key, value in weights.items()}
    if path.suffix == SUFFIX:
        write_whole(save(contiguous), path)
        return
    buffer = io.BytesIO()
    torch.save(contiguous, buffer)
    write_whole(buffer.getvalue(), path)
