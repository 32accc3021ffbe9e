"""Tensors of a dataclass, moved together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, TypeVar

import torch
from torch import Tensor

_Self = TypeVar("_Self", bound="OnDevice")


def placed(values: object, device: torch.device, dtype: torch.dtype | None = None) -> Tensor:
    """Return plain numbers as a tensor on a device, without waiting for what the device still does.

    ``torch.tensor(values, device=...)`` waits until a GPU has done all that it was given before.
    """
    return torch.tensor(values, dtype=dtype).to(device, non_blocking=True)


#: Kinds of devices that need not be waited for.
_KNOWN_AT_ONCE = ("cpu",)


def known_at_once(values: Tensor) -> bool:
    """Whether a shape may depend on what a tensor holds: a GPU would have to be waited for.

    Nor may it where the step is compiled.
    """
    return values.device.type in _KNOWN_AT_ONCE and not torch.compiler.is_compiling()


class OnDevice:
    """Moves every tensor field of a dataclass, and leaves the others as they are."""

    def to(self: _Self, device: torch.device | str, non_blocking: bool = False) -> _Self:
        """Return a copy whose tensors lie on ``device``."""
        return self.changed(lambda one: one.to(device, non_blocking=non_blocking))

    def pin_memory(self: _Self) -> _Self:
        """Return a copy in memory that a GPU can read while the processor goes on."""
        return self.changed(lambda one: one.pin_memory())

    def changed(self: _Self, change: Callable[[Tensor], Tensor]) -> _Self:
        """Return a copy in which a function was applied to every tensor."""
        made: _Self = _changed(self, change)
        return made


def _changed(value: Any, change: Callable[[Tensor], Tensor]) -> Any:  # noqa: ANN401  # of its type
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, OnDevice):
        kept = {one.name: getattr(value, one.name) for one in fields(value)}  # type: ignore[arg-type]
        return type(value)(**{name: _changed(item, change) for name, item in kept.items()})
    if isinstance(value, tuple):
        return tuple(_changed(item, change) for item in value)
    if isinstance(value, Mapping):
        return {key: _changed(item, change) for key, item in value.items()}
    return value
