"""What a checkpoint says about its detector and its run: plain values of the kinds we know.

Everything that a file says goes through ``checked_description`` once, on the way in. Whoever reads
a description afterwards finds each value of the kind that is stated here; options of the detector's
parts are plain values within bounds, and the parts themselves refuse what they do not know.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from fcos_lightning.backbones.build import build_backbone
from fcos_lightning.backbones.timm_nets import TimmBackbone
from fcos_lightning.backbones.tiny import TinyNet
from fcos_lightning.backbones.vovnet import vovnet_stages
from fcos_lightning.detector import build_detector, build_fcos
from fcos_lightning.detector.fpn import FPNOptions
from fcos_lightning.detector.grid import Grid
from fcos_lightning.detector.lookup import made, part_of
from fcos_lightning.detector.parts import Assigner, Decoder, HeadOptions, Loss
from fcos_lightning.errors import UserError, shown
from fcos_lightning.structures.batches import LARGEST_SIDES

Hints = Mapping[str, Any]

#: Of a run; a file may say more than that, as long as it is plain.
_RUN: Hints = {
    "format": int,
    "spec": dict,
    "version": str | None,
    "name": str | None,
    "layout": str,
    "data_choice": str | None,
    "data": dict,
    "shorter_side": int | None,
    "longer_side": int | None,
    "channels_last": bool,
}

_INPUT: Hints = {
    "mean": Sequence[float],
    "std": Sequence[float],
    "channel_order": Literal["rgb", "bgr"],
    "padding": Literal["multiple", "beyond"],
}

#: Parts that check their own options, each value of a kind that a bound says something about.
_PARTS = ("fpn", "grid", "head", "assigner", "loss", "decoder")
#: The backbone is made by functions; their signatures say what their options are.
_BACKBONE: tuple[Callable[..., Any], ...] = (
    *(build_backbone, TinyNet.__init__, vovnet_stages),
    TimmBackbone.__init__,
)

#: Images are resized to these sides, in pixels; the longer one is often meant as "any".
#: Of counts of channels, layers, candidates; ids of a data set may be any number of 64 bits.
_LARGEST_COUNT = 1_000_000
_LARGEST_LEVEL = 20
#: Sizes that levels answer for may begin below 0, and so may a weight that says there is none.
_MAY_BE_NEGATIVE = ("size_ranges", "focal_alpha")
_LONGEST_NAME = 500

_MOST_VALUES = 200_000
_MOST_CHARACTERS = 4_000_000
_DEEPEST = 10


def checked_description(value: object) -> dict[str, Any]:
    """Return a description, each value of the kind it should be, tuples as lists.

    The number of classes and whether they have names and ids is always said in the result.

    Raises:
        UserError: naming the first value that is of another kind.
    """
    described = _plain(value)
    if not isinstance(described, dict):
        raise UserError(f"its description is {shown(value)}, not a dictionary")
    _check_kinds(described, _RUN, "")
    for key, largest in LARGEST_SIDES.items():
        side = described.get(key)
        if side is not None and not 0 < side <= largest:
            raise UserError(f"its {key} is {side}; a side has 1 to {largest} pixels")
    spec = described.get("spec")
    if spec is None:
        raise UserError("its description lacks the detector's, under spec")
    _check_spec(spec)
    return described


def _check_spec(spec: dict[str, Any]) -> None:
    """Check and complete what ``build_fcos`` is given."""
    hints: dict[str, Any] = dict.fromkeys(("backbone", "input", *_PARTS), dict | None)
    for function in (build_detector, build_fcos):
        stated = get_type_hints(function).items()
        hints |= {key: hint for key, hint in stated if key not in (*hints, "parts", "return")}
    unknown = sorted(set(spec) - set(hints) - {"custom"})
    if unknown:
        raise UserError(f"its spec.{shown(unknown[0])[1:-1]} is no option of this version")
    _check_kinds(spec, hints | {"custom": dict}, "spec.")
    _check_kinds(spec.get("custom", {}), dict.fromkeys(spec.get("custom", {}), str), "spec.custom.")
    options = {k: v for function in _BACKBONE for k, v in get_type_hints(function).items()}
    _check_kinds(spec.get("backbone") or {}, options, "spec.backbone.")
    for part in ("backbone", *_PARTS):
        for option, chosen in (spec.get(part) or {}).items():
            _check_range(option, chosen, f"spec.{part}.{option}")
    # What cannot be said by kinds and bounds, the parts say as they are made; none is large.
    for kind in (HeadOptions, Assigner, Loss, Decoder):
        part_of(kind, spec.get(kind.kind))
    made(FPNOptions, spec.get("fpn") or {})
    made(Grid, spec.get("grid") or {}, strides=(), pooled_from=None)
    given = spec.get("input") or {}
    _check_kinds(given, _INPUT, "spec.input.")
    if not all(given.get("std", [1])):
        raise UserError("its spec.input.std has a 0, by which no image can be divided")
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", (spec.get("backbone") or {}).get("name", "_")):
        raise UserError("its spec.backbone.name is no name of a net")

    names, ids = (spec.setdefault(key, None) for key in ("class_names", "category_ids"))
    if spec.get("num_classes") is None:
        if names is None:
            raise UserError("its spec tells neither num_classes nor class_names")
        spec["num_classes"] = len(names)
    _check_range("num_classes", spec["num_classes"], "spec.num_classes")
    for name in names or ():
        if len(name) > _LONGEST_NAME:
            raise UserError(f"its spec.class_names has a name of {len(name)} characters")
    if not all(-(2**63) <= number < 2**63 for number in ids or ()):
        raise UserError("its spec.category_ids has a number of more than 64 bits")


def _check_kinds(values: Mapping[str, Any], hints: Hints, place: str) -> None:
    for key, value in values.items():
        if key in hints and not _fits(value, hints[key]):
            raise UserError(f"its {place}{key} is {shown(value)}, not {_in_words(hints[key])}")


def _check_range(option: str, value: object, place: str) -> None:
    """Refuse numbers that no detector has."""
    largest = _LARGEST_LEVEL if option == "levels" else _LARGEST_COUNT
    for number in _numbers(value):
        if option not in _MAY_BE_NEGATIVE and not 0 <= number <= largest:
            raise UserError(f"its {place} is {number}; no detector has less than 0, or so much")


def _numbers(value: object) -> Iterable[int | float]:
    if isinstance(value, list):
        for item in value:
            yield from _numbers(item)
    elif isinstance(value, int | float):
        yield value


def _fits(value: object, hint: Any) -> bool:  # noqa: ANN401  # what a signature says
    """Tell whether a plain value is of the kind that a signature states."""
    kind, inner = get_origin(hint), get_args(hint)
    if kind in (Union, UnionType):
        return any(_fits(value, one) for one in inner)
    if kind is Literal:
        return any(type(value) is type(word) and value == word for word in inner)
    if kind is tuple:  # a range of sizes, the last of which has no end
        if not isinstance(value, list) or len(value) != len(inner):
            return False
        return all(type(one) in (int, float) and not math.isnan(one) for one in value)
    if kind is Sequence:
        return isinstance(value, list) and all(_fits(item, inner[0]) for item in value)
    if hint in (None, NoneType):
        return value is None
    if hint is float:
        return isinstance(value, int | float) and type(value) is not bool and math.isfinite(value)
    if hint is int:
        return type(value) is int
    if hint in (bool, str, dict):
        return isinstance(value, hint)
    return hint in (Any, object)


def _in_words(hint: Any) -> str:  # noqa: ANN401
    kind, inner = get_origin(hint), get_args(hint)
    if kind in (Union, UnionType):
        return " or ".join(_in_words(one) for one in inner)
    if kind is Literal:
        return f"one of {', '.join(map(str, inner))}"
    if kind is Sequence:
        return f"a list, each {_in_words(inner[0])}"
    if hint in (None, NoneType):
        return "nothing"
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
    return words.get(hint, "a dictionary" if hint is dict else "of its kind")


def _plain(value: object) -> Any:  # noqa: ANN401
    """Return a tree of numbers, texts, lists and dictionaries; refuse all else, and too much."""
    left = {"values": _MOST_VALUES, "characters": _MOST_CHARACTERS}

    def text(given: str) -> str:
        left["characters"] -= len(given)
        try:
            given.encode()
        except UnicodeEncodeError:  # half of a pair of surrogates
            raise UserError(f"its description has text that is none: {shown(given)}") from None
        return given

    def copied(one: object, place: str, depth: int) -> Any:  # noqa: ANN401
        left["values"] -= 1
        if depth > _DEEPEST or min(left.values()) < 0:
            raise UserError("its description is larger than any detector's")
        if isinstance(one, dict):
            for key in one:
                if not isinstance(key, str):
                    raise UserError(f"its {place or 'description'} has the key {shown(key)}")
            return {
                text(k): copied(v, f"{place}.{k}"[:200].lstrip("."), depth + 1)
                for k, v in one.items()
            }
        if isinstance(one, list | tuple):
            return [copied(item, place, depth + 1) for item in one]
        if isinstance(one, str):
            return text(one)
        if type(one) is int and not -(2**64) < one < 2**64:
            raise UserError(f"its {place} has a number of {one.bit_length()} bits")
        if one is None or type(one) in (int, float, bool):
            return one
        raise UserError(
            f"its description of the detector is not plain data: {place} is {shown(one)}"
        )

    return copied(value, "", 0)
