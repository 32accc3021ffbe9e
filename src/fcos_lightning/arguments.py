"""Whether plain values fit what a function says it takes.

A configuration, a checkpoint's description and a command line all bring values that somebody wrote.
One of the wrong kind would otherwise be noticed where it is first used, hours into a training.
"""

from __future__ import annotations

import collections.abc
import inspect
import os
import types
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from numbers import Integral, Real
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from fcos_lightning.errors import UserError
from fcos_lightning.printing import printable

_SEQUENCES = (list, tuple, set, frozenset, collections.abc.Sequence, collections.abc.Iterable)
_CALLABLE: Any = collections.abc.Callable
_MAPPINGS = (dict, collections.abc.Mapping)
_WORDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    type(None): "null",
}


def check_arguments(function: Callable[..., Any], options: Mapping[str, Any], place: str) -> None:
    """Refuse values of another kind than a function or class is annotated with.

    Names that it does not know are left to the call itself, as are the words of a ``Literal``,
    which deserve a better message. What has no annotation takes everything.

    Args:
        function: to be called.
        options: with these keyword arguments.
        place: where they stand, for messages.

    Raises:
        UserError: naming the first that does not fit, and what would.
    """
    hints = _hints(function)
    for name, value in options.items():
        if name in hints and not fits(value, hints[name]):
            raise UserError(
                f"{place}.{name}={printable(value)}: give {described(hints[name])}, "
                f"not {_kind(value)}"
            )


def check_names(
    function: Callable[..., Any], names: Iterable[object], place: str, bases_too: bool
) -> None:
    """Refuse arguments that a function or class does not have.

    Args:
        function: to be called.
        names: of its keyword arguments.
        place: where they stand, for messages.
        bases_too: whether a class hands on to its bases what it does not take itself; else such a
            class may take anything.

    Raises:
        UserError: naming the first, and the nearest that there is.
    """
    known = _names(function, bases_too)
    if known is None:
        return
    for name in map(str, names):
        if name not in known:
            close = get_close_matches(name, known, 1, 0.6)
            hint = f"is {place}.{close[0]} meant? " if close else ""
            raise UserError(
                f"{place}.{printable(name)}: there is no such setting; {hint}there are",
                choices=known or ["none"],
            )


def fits(value: object, hint: Any) -> bool:  # noqa: ANN401  # an annotation
    """Tell whether a value is of the kind that an annotation names."""
    origin = get_origin(hint)
    if hint is Any or isinstance(hint, str | TypeVar):
        return True
    if hint is None or hint is types.NoneType:
        return value is None
    if origin in (Union, types.UnionType):
        return any(fits(value, one) for one in get_args(hint))
    if origin is Literal:
        return any(type(value) is type(word) for word in get_args(hint))
    kind: Any = origin or hint
    if not isinstance(kind, type) or kind is object:
        return True
    if kind in (bool, str):
        return isinstance(value, kind)
    if kind in (int, float):
        number = Integral if kind is int else Real
        # A whole number may be too large for torch to calculate with.
        fine = not isinstance(value, int) or kind is int or abs(value) < 2**63
        return isinstance(value, number) and not isinstance(value, bool) and fine
    if kind in _SEQUENCES:
        return _fits_sequence(value, kind, get_args(hint))
    if kind in _MAPPINGS:
        inner = get_args(hint)
        return isinstance(value, Mapping) and (
            not inner or all(fits(k, inner[0]) and fits(v, inner[1]) for k, v in value.items())
        )
    if kind is _CALLABLE:
        return callable(value)
    if issubclass(kind, os.PathLike):
        return isinstance(value, str | os.PathLike)
    # Of other classes only objects; which ones is their user's business.
    return not (value is None or isinstance(value, bool | int | float | str | list | tuple | dict))


def described(hint: Any) -> str:  # noqa: ANN401  # an annotation
    """Return what a person may give for an annotation."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(described(one) for one in inner))
    if origin is Literal:
        return " or ".join(str(word) for word in inner)
    if hint is None:
        return "null"
    kind = origin or hint
    if kind in _WORDS:
        return _WORDS[kind]
    if kind in _SEQUENCES:
        return f"a list of {_plural(inner[0])}" if inner else "a list"
    if kind in _MAPPINGS:
        return "settings"
    if kind is _CALLABLE:
        return "a _target_ with _partial_: true"
    if isinstance(kind, type) and issubclass(kind, os.PathLike):
        return "a path"
    return f"a _target_ that makes a {getattr(kind, '__name__', kind)}"


def _plural(hint: Any) -> str:  # noqa: ANN401  # an annotation
    if get_origin(hint) in _SEQUENCES or hint in _SEQUENCES:
        return "lists"
    return {int: "whole numbers", float: "numbers", str: "texts"}.get(hint, described(hint))


def _kind(value: object) -> str:
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    if isinstance(value, Mapping):
        return "settings"
    if isinstance(value, float):  # as 2.5 is, where a whole number is wanted
        return "a number with decimals"
    return _WORDS.get(type(value), f"a {type(value).__name__}")


def _fits_sequence(value: object, kind: type, inner: tuple[Any, ...]) -> bool:
    if not isinstance(value, collections.abc.Iterable) or isinstance(value, str | Mapping):
        return False
    if not inner or not isinstance(value, list | tuple):
        return True
    if kind is tuple and Ellipsis not in inner:
        return len(value) == len(inner) and all(map(fits, value, inner))
    return all(fits(item, inner[0]) for item in value)


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    """Annotations of what a function takes; of a class also what it hands on to its bases."""
    if not isinstance(function, type):
        return _own_hints(function)
    hints: dict[str, Any] = {}
    for one in function.__mro__:
        own = vars(one).get("__init__")
        if own is None:
            continue
        hints = {**_own_hints(own), **hints}
        kinds = [p.kind for p in inspect.signature(own).parameters.values()]
        if inspect.Parameter.VAR_KEYWORD not in kinds:
            break
    return hints


def _names(function: Callable[..., Any], bases_too: bool) -> list[str] | None:
    """Names that a function or class takes; None where it takes any."""
    takers: list[Any] = [function]
    if isinstance(function, type):
        takers = [vars(one)["__init__"] for one in function.__mro__ if "__init__" in vars(one)]
    names: list[str] = []
    for taker in takers if bases_too else takers[:1]:
        try:
            parameters = inspect.signature(taker).parameters.values()
        except (TypeError, ValueError):  # of a function written in C
            return None
        plain = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        names += [p.name for p in parameters if p.kind in plain and p.name != "self"]
        if not any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters):
            return list(dict.fromkeys(names))  # a class may take what it hands to its base
    return None


def _own_hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        hints = get_type_hints(function)
        parameters = inspect.signature(function).parameters
    except (NameError, TypeError, ValueError):  # of names that exist for type checkers only
        return {}
    plain = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    known = {key: hints[key] for key, p in parameters.items() if p.kind in plain and key in hints}
    known.pop("self", None)
    return known
