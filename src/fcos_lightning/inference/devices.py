"""Which device a detector runs on."""

from __future__ import annotations

import re

import torch

from fcos_lightning.errors import UserError


def chosen_device(name: str | torch.device) -> torch.device:
    """Return a device that is there.

    Args:
        name: ``auto`` (a GPU if there is one), ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.

    Raises:
        UserError: if the name is unknown, or there is no such device.
    """
    name = str(name)
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    has_mps = torch.backends.mps.is_available()
    if name == "auto":
        name = "cuda" if gpus else "mps" if has_mps else "cpu"
    if not re.fullmatch(r"cpu|mps(:0)?|cuda(:\d+)?", name):
        raise UserError(f"device={name}: give auto, cpu, cuda, cuda:N or mps")
    if name.startswith("cuda"):
        number = int(name.partition(":")[2] or 0)
        if gpus == 0:
            raise UserError(f"device={name}: torch finds no GPU here; give device=cpu")
        if number >= gpus:
            raise UserError(f"device={name}: there are {gpus} GPUs, cuda:0 to cuda:{gpus - 1}")
    if name.startswith("mps") and not has_mps:
        raise UserError(f"device={name}: torch finds no Apple GPU here; give device=cpu")
    return torch.device(name)
