"""Our own checkpoints: what Lightning writes, plus a plain description of the detector.

The description stands under the key ``fcos`` and holds numbers, names and lists only. A detector
is built again by ``build_fcos`` from them; nothing that a file names is ever called.

A ``.safetensors`` file holds the weights alone and the description as JSON in its header, so that
other tools can read it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fcos_lightning.checkpoints.description import checked_description
from fcos_lightning.detector import DenseDetector
from fcos_lightning.errors import UserError, shown
from fcos_lightning.weights.reading import read_safetensors

KEY = "fcos"
#: Of the detector's weights in a checkpoint.
PREFIX = "detector."
#: Since 2, parts are named and all their options written out.
FORMAT = 2
_READABLE = (1, 2)

#: Kinds of numbers that weights are kept in.
_DTYPES = {
    torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.bool, torch.uint8,
    torch.int8, torch.int16, torch.int32, torch.int64,
}  # fmt: skip


def describe(detector: DenseDetector, **more: object) -> dict[str, Any]:
    """Return what a checkpoint says about its detector; ``more`` must be plain as well."""
    return {"format": FORMAT, "spec": detector.spec, **more}


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


def checked(content: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the content of a checkpoint of ours, after a look at all that is read of it later.

    Raises:
        UserError: if something is not of the kind it should be.
    """
    described = content[KEY]
    version = described.get("format") if isinstance(described, dict) else None
    if isinstance(described, dict) and version is None:
        raise UserError("its description lacks its version, under format")
    if type(version) is int and version not in _READABLE:
        raise UserError(
            f"format {shown(version)} is not known to this version, which reads "
            f"{' and '.join(map(str, _READABLE))}; update fcos-lightning"
        )
    weights = content.get("state_dict")
    if not isinstance(weights, dict):
        raise UserError("it has no weights, under state_dict")
    for key, value in weights.items():
        if not isinstance(key, str):
            raise UserError(f"among its weights is the name {shown(key)}")
        if key.startswith(PREFIX) and not isinstance(value, Tensor):
            raise UserError(f"its weight {shown(key)[1:-1]} is {shown(value)}, no tensor")
        if key.startswith(PREFIX) and value.dtype not in _DTYPES:
            raise UserError(f"its weight {shown(key)[1:-1]} is of {value.dtype}, no real numbers")
    logged = content.get("fcos_logged")
    if logged is not None and not (
        isinstance(logged, dict)
        and {"csv_rows", "steps"} <= set(logged)
        and all(n is None or (type(n) is int and 0 <= n < 2**63) for n in logged.values())
    ):
        raise UserError(f"its fcos_logged is {shown(logged)}, not how far its logs went")
    return {**content, KEY: checked_description(described)}
