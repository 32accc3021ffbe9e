"""Files of weights alone: named tensors, for other tools."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from fcos_lightning.storage.replacing import write_whole

SUFFIX = ".safetensors"


def write_weights(weights: Mapping[str, Tensor], path: Path) -> None:
    """Write named tensors alone: ``.safetensors``, else as ``torch.save`` does.

    Raises:
        UserError: if it cannot be written.
    """
    contiguous = apart(weights)
    if path.suffix == SUFFIX:
        write_whole(save(contiguous), path)
        return
    buffer = io.BytesIO()
    torch.save(contiguous, buffer)
    write_whole(buffer.getvalue(), path)


def apart(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give each tensor numbers of its own: the format has no tensors that share theirs."""
    return {k: v.clone(memory_format=torch.contiguous_format) for k, v in weights.items()}
