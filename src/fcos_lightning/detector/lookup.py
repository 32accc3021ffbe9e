"""The parts of this package by their names, and options as fields of a part."""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from dataclasses import fields
from importlib import import_module
from types import ModuleType
from typing import Any, TypeVar

from fcos_lightning.detector import assigners, decoders, heads, losses
from fcos_lightning.detector.parts import Assigner, Decoder, HeadOptions, Loss, Part
from fcos_lightning.errors import UserError, shown

Choice = Mapping[str, Any]
_Part = TypeVar("_Part", bound=Part)

#: Where the parts of each kind lie, one in a file of its name, and which is FCOS's. The kinds that
#: are missing here have one class each.
_FOLDERS: dict[type[Part], tuple[ModuleType, str]] = {
    HeadOptions: (heads, "fcos"),
    Assigner: (assigners, "fcos"),
    Loss: (losses, "fcos"),
    Decoder: (decoders, "nms"),
}


def part_of(kind: type[_Part], choice: Choice | _Part | None) -> _Part:
    """Return a part of this package with the options of a choice, or the part that is one already.

    Args:
        kind: ``HeadOptions``, ``Assigner``, ``Loss`` or ``Decoder``.
        choice: its options, and its ``name`` where it is not FCOS's.

    Raises:
        UserError: if there is no such part or option.
    """
    if isinstance(choice, kind):
        return choice
    if choice is not None and not isinstance(choice, Mapping):
        raise UserError(
            f"model.{kind.kind}: {name_of(choice)} is no {kind.__name__}; derive your class from "
            f"fcos_lightning.detector.parts.{kind.__name__}"
        )
    _, usual = _FOLDERS[kind]
    options = dict(choice or {})
    name = options.pop("name", None) or usual
    part = _find(kind, name)
    if part is None:
        raise UserError(
            f"model.{kind.kind}.name={shown(name)}: no such part; there are",
            choices=part_names(kind),
        )
    return made(part, options)


def part_names(kind: type[Part]) -> list[str]:
    """Return the names of this package's parts of a kind."""
    folder, _ = _FOLDERS[kind]
    names = (one.name for one in pkgutil.iter_modules(folder.__path__))
    return sorted(name for name in names if _find(kind, name) is not None)


def made(part: type[_Part], options: Choice, **derived: Any) -> _Part:  # noqa: ANN401
    """Make a part of options, and of what is derived and so cannot be chosen.

    Raises:
        UserError: naming an option that it does not have.
    """
    known = [one.name for one in fields(part) if one.name not in derived]
    for option in options:
        if option not in known:
            raise UserError(
                f"model.{part.kind}.{str(option)[:100]}: no such option; there are",
                choices=known,
            )
    return part(**derived, **options)


def is_ours(part: Part) -> bool:
    """Whether the part can be made again by its name, from this package."""
    for kind, (folder, _) in _FOLDERS.items():
        if isinstance(part, kind):
            return type(part).__module__ == f"{folder.__name__}.{part.name}"
    return type(part).__module__.startswith(f"{__package__}.")


def name_of(part: object) -> str:
    """Return the module and name of somebody's own part, or of its class."""
    named = getattr(part, "func", part)
    name = getattr(named, "__qualname__", type(named).__qualname__)
    return f"{getattr(named, '__module__', type(named).__module__)}.{name}"


def _find(kind: type[_Part], name: object) -> type[_Part] | None:
    """Return this package's part of a name; None if there is none."""
    folder, _ = _FOLDERS[kind]
    if name not in [one.name for one in pkgutil.iter_modules(folder.__path__)]:
        return None
    inside = vars(import_module(f"{folder.__name__}.{name}")).values()
    of_kind = (one for one in inside if isinstance(one, type) and issubclass(one, kind))
    return next((one for one in of_kind if one.name == name), None)
