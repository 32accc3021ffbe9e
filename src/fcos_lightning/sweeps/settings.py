"""Settings of a sweep: which there are, and what each may be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fcos_lightning.arguments import described, fits
from fcos_lightning.errors import UserError

_WORDS = (
    ("search", ("grid", "optuna")),
    ("launcher", ("local", "slurm", "submitit_local")),
    ("on_same_error", ("stop", "run")),
)
_COUNTS = ("parallel", "trials", "most")
_KINDS: dict[str, Any] = {
    "params": Mapping[str, Any],
    "dir": str | None,
    "resume": str | None,
    "slurm": Mapping[str, Any] | None,
    "seed": int,
    "pruning": bool,
    "pruning_warmup": int,
}


def check_settings(settings: dict[str, Any]) -> None:
    """Refuse settings of a sweep that mean nothing.

    Raises:
        UserError: naming the first.
    """
    for key, known in _WORDS:
        if settings[key] not in known:
            raise UserError(f"sweep.{key}={settings[key]}: give one of {', '.join(known)}")
    for key in _COUNTS:
        value = settings[key]
        if not isinstance(value, int) or value < 1:
            raise UserError(f"sweep.{key}={value}: give a whole number above 0")
    for key, hint in _KINDS.items():
        if not fits(settings[key], hint):
            raise UserError(f"sweep.{key}={settings[key]}: give {described(hint)}")
