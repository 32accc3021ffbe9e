"""Our plain format: a ``.safetensors`` file, the description of the detector as JSON in its header.

Such a file holds numbers alone, so that reading it can run nothing, and other tools can read it.
"""

from __future__ import annotations

import io
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from fcos_lightning.errors import UserError

KEY = "fcos"
SUFFIX = ".safetensors"
_PREFIX = "detector."


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
            weights = {f"{_PREFIX}{key}": file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        return {KEY: json.loads(described), "state_dict": weights}
    except SafetensorError:
        return None
    except json.JSONDecodeError as error:
        raise UserError(f"checkpoint {path}: its description is no JSON ({error})") from error


def write_plain(content: Mapping[str, Any], path: Path) -> None:
    """Write a checkpoint's weights and description; replaces a file of that name at once.

    Args:
        content: of a checkpoint, as ``read_checkpoint`` gives it.
        path: of the new file.

    Raises:
        UserError: if it cannot be written.
    """
    weights = {
        key[len(_PREFIX) :]: value.contiguous()
        for key, value in content["state_dict"].items()
        if key.startswith(_PREFIX)
    }
    write_file(save(weights, {KEY: json.dumps(content[KEY])}), path)


def write_weights(weights: Mapping[str, Tensor], path: Path) -> None:
    """Write named tensors alone: ``.safetensors``, else as ``torch.save`` does.

    Raises:
        UserError: if it cannot be written.
    """
    contiguous = {key: value.contiguous() for key, value in weights.items()}
    if path.suffix == SUFFIX:
        write_file(save(contiguous), path)
        return
    buffer = io.BytesIO()
    torch.save(contiguous, buffer)
    write_file(buffer.getvalue(), path)


def write_file(content: bytes, path: Path) -> None:
    """Write a file that stands under its name only when it is whole.

    Raises:
        UserError: if it cannot be written; nothing half written stays.
    """
    draft: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(draft, 0o666 & ~mask)
        os.replace(draft, path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from error
    finally:
        if draft is not None:
            Path(draft).unlink(missing_ok=True)
