"""Whether the value of an option is of its type, and what its type is in words."""

from __future__ import annotations

import math
import types
from collections.abc import Sequence
from dataclasses import fields
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

_LARGEST = 2**1000


@cache
def hints_of(part: Any) -> dict[str, Any]:  # noqa: ANN401  # a dataclass, of which there is no type
    """Return the types of a dataclass's fields, by name.

    Of a class once: functions such as ``decode`` make a part at each call.
    """
    hints = get_type_hints(part)
    return {one.name: hints[one.name] for one in fields(part)}


def plain_to(value: Any, hint: Any) -> Any:  # noqa: ANN401  # a tree of plain values
    """Return a value as the type wants it, where YAML and JSON have no word for that.

    Lists become tuples, whole numbers become fractions, and ``"inf"`` a number; what does not fit
    stays as it is.
    """
    choices = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    if isinstance(value, str) and float in choices and value.strip("+-.").lower() == "inf":
        return float(value.replace(".", ""))
    if isinstance(value, int) and not isinstance(value, bool) and float in choices:
        # A whole number beyond float64 stays what it is, and is refused as that.
        return value if int in choices or abs(value) > _LARGEST else float(value)
    if isinstance(value, str) or not isinstance(value, Sequence):
        return value
    for choice in choices:
        if get_origin(choice) is tuple:
            inner = get_args(choice)
            kinds = [inner[0]] * len(value) if inner[-1:] == (...,) else list(inner)
            if len(kinds) == len(value):
                return tuple(plain_to(one, kind) for one, kind in zip(value, kinds, strict=True))
    return value


def fits(value: object, hint: Any) -> bool:  # noqa: ANN401  # a type, of which there is no type
    """Whether a value is of a type."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(fits(value, one) for one in inner)
    if origin is Literal:
        return any(value == one and type(value) is type(one) for one in inner)
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        if inner[-1:] == (...,):
            return all(fits(one, inner[0]) for one in value)
        return len(value) == len(inner) and all(map(fits, value, inner))
    if hint is float:  # the last of a row of sizes may be infinite, nothing else
        return isinstance(value, float) and not math.isnan(value)
    if hint in (bool, int, str):
        return type(value) is hint
    if hint is type(None):
        return value is None
    # Of somebody's own part: any type that Python can tell.
    return isinstance(value, hint) if isinstance(hint, type) else True


def in_words(hint: Any) -> str:  # noqa: ANN401  # likewise
    """What may be given, in words."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(in_words(one) for one in inner)
    if origin is Literal:
        return f"one of {', '.join(map(str, inner))}"
    if origin is tuple:
        return f"a list, each item {in_words(inner[0])}"
    named = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
    return "null" if hint is type(None) else named.get(hint, str(hint))


def shown(value: object) -> str:
    """Return a value as messages show it."""
    text = str(value)
    return text if len(text) <= 100 else f"{text[:100]}..."


def plain_of(value: object) -> object:
    """Return a value as YAML and JSON write it: lists for tuples."""
    return [plain_of(one) for one in value] if isinstance(value, tuple) else value
