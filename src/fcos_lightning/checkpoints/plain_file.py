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
from safetensors.torch import save
from torch import Tensor

from fcos_lightning.errors import UserError, shown
from fcos_lightning.storage.replacing import write_whole
from fcos_lightning.weights.reading import read_safetensors

KEY = "fcos"
SUFFIX = ".safetensors"
#: Of the detector's weights in a checkpoint.
PREFIX = "detector."


def plain_content(path: Path) -> dict[str, Any]:
    """Return what such a file holds, in the form of a checkpoint of ours if it is one of ours.

    Raises:
        UserError: if there is no such file, it is broken, or its description is no JSON.
    """
    tensors, texts = read_safetensors(path, "checkpoint")
    if KEY not in texts:
        return dict(tensors)
    try:
        description = json.loads(texts[KEY])
    except (ValueError, RecursionError) as error:  # no JSON, thousands of digits or of brackets
        raise UserError(
            f"checkpoint {path}: its description is no JSON ({shown(str(error))[1:-1]})"
        ) from error
    return {KEY: description, "state_dict": {f"{PREFIX}{k}": v for k, v in tensors.items()}}


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
    weights = _apart(weights_of(content))
    write_whole(save(weights, {KEY: json.dumps(content[KEY])}), path)


def write_weights(weights: Mapping[str, Tensor], path: Path) -> None:
    """Write named tensors alone: ``.safetensors``, else as ``torch.save`` does.

    Raises:
        UserError: if it cannot be written.
    """
    contiguous = _apart(weights)
    if path.suffix == SUFFIX:
        write_whole(save(contiguous), path)
        return
    buffer = io.BytesIO()
    torch.save(contiguous, buffer)
    write_whole(buffer.getvalue(), path)


def _apart(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give each tensor numbers of its own: the format has no tensors that share theirs."""
    return {k: v.clone(memory_format=torch.contiguous_format) for k, v in weights.items()}
