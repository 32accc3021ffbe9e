"""What a converted file says about itself: text of anybody's, so all of it is checked."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fcos_lightning.checkpoints.native import KEY
from fcos_lightning.errors import UserError, shown
from fcos_lightning.structures.batches import LARGEST_SIDES

_LONGEST_TEXT = 4_000_000
_LONGEST_NAME = 500
_LONGEST_LICENSE = 200
_MOST_CLASSES = 1_000_000
#: Of images that have to have one size, in pixels.
_LARGEST_SIDE = 10_000
#: Options of decoders that others here ask for, and the largest value of each.
_DECODER = {"score_threshold": 1.0, "nms_iou": 1.0, "max_detections": 1e6}


@dataclass(frozen=True)
class Stated:
    """What a file says.

    Attributes:
        num_classes: how many there are.
        class_names: one per label, or None.
        category_ids: one per label, or None.
        sides: shorter and longer side that images are resized to, in pixels, each None where the
            file does not say.
        size_hw: height and width that images must have; None: any.
        decoder: options of its decoder, as far as they are known here.
        license: of the weights; None: not stated.
        precision: of its numbers.
        version: of what wrote it.
    """

    num_classes: int
    class_names: tuple[str, ...] | None
    category_ids: tuple[int, ...] | None
    sides: tuple[int | None, int | None] = (None, None)
    size_hw: tuple[int, int] | None = None
    decoder: Mapping[str, float] = field(default_factory=dict)
    license: str | None = None
    precision: str = "fp32"
    version: str = ""

    @classmethod
    def of(cls, about: Mapping[str, str]) -> Stated:
        """Return what a file says, every value of the kind it should be, and within bounds.

        Raises:
            UserError: if it says nothing, or naming the first value that is of another kind.
        """
        if not {KEY, "class_names", "category_ids", "size", "decoder"} <= set(about):
            raise UserError("does not say what fcos-convert writes into its files")
        names, ids = _names(_tree(about, "class_names")), _ids(_tree(about, "category_ids"))
        if names is not None and ids is not None and len(names) != len(ids):
            raise UserError(f"has {len(names)} class_names, but {len(ids)} category_ids")
        known = names or ids
        size = _mapping(_tree(about, "size"), "size")
        sides = tuple(
            _whole(size.get(key), f"size.{key}", LARGEST_SIDES[key])
            for key in ("shorter_side", "longer_side")
        )
        said = about.get("license", "not stated")
        return cls(
            num_classes=_number_of_classes(about) if known is None else len(known),
            class_names=names,
            category_ids=ids,
            sides=(sides[0], sides[1]),
            size_hw=_fixed(size.get("height_width")),
            decoder=_decoder(_mapping(_tree(about, "decoder"), "decoder")),
            license=None if said == "not stated" else _short(said),
            precision=_short(about.get("precision", "fp32")),
            version=_short(about.get("version", "")),
        )


def _tree(about: Mapping[str, str], key: str) -> Any:  # noqa: ANN401  # whatever the file holds
    text = about[key]
    if len(text) > _LONGEST_TEXT:
        raise UserError(f"has {len(text)} characters of {key}, more than any detector's")
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise UserError(f"its {key} is no JSON: {shown(text)}") from None


def _mapping(value: object, key: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UserError(f"its {key} is {shown(value)}, not a dictionary")
    return value


def _whole(value: object, key: str, largest: int) -> int | None:
    if value is None:
        return None
    if type(value) is not int or not 1 <= value <= largest:
        raise UserError(f"its {key} is {shown(value)}, not 1 to {largest}")
    return value


def _names(value: object) -> tuple[str, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not 0 < len(value) <= _MOST_CLASSES:
        raise UserError(f"its class_names are {shown(value)}, not a list of names")
    for name in value:
        if not isinstance(name, str) or len(name) > _LONGEST_NAME or not _is_text(name):
            raise UserError(f"among its class_names is {shown(name)}, no name")
    return tuple(value)


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:  # half of a pair of surrogates
        return False
    return True


def _ids(value: object) -> tuple[int, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not 0 < len(value) <= _MOST_CLASSES:
        raise UserError(f"its category_ids are {shown(value)}, not a list of numbers")
    for number in value:
        if type(number) is not int or not -(2**63) <= number < 2**63:
            raise UserError(f"among its category_ids is {shown(number)}, no number of 64 bits")
    return tuple(value)


def _number_of_classes(about: Mapping[str, str]) -> int:
    spec = _mapping(_mapping(_tree(about, KEY), KEY).get("spec"), f"{KEY}.spec")
    number = _whole(spec.get("num_classes"), f"{KEY}.spec.num_classes", _MOST_CLASSES)
    if number is None:
        raise UserError("does not say how many classes there are")
    return number


def _fixed(value: object) -> tuple[int, int] | None:
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 2:
        raise UserError(f"its size.height_width is {shown(value)}, not two numbers")
    height, width = (_whole(one, "size.height_width", _LARGEST_SIDE) for one in value)
    if height is None or width is None:
        raise UserError(f"its size.height_width is {shown(value)}, not two numbers")
    return height, width


def _decoder(given: Mapping[str, Any]) -> dict[str, float]:
    found = {}
    for key, largest in _DECODER.items():
        value = given.get(key)
        if value is None:
            continue
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not math.isfinite(value) or not 0 <= value <= largest:
            raise UserError(f"its decoder.{key} is {shown(value)}, not 0 to {largest:g}")
        found[key] = value
    return found


def _short(text: str) -> str:
    """Return text for a line, no longer than a licence's name."""
    return shown(text, _LONGEST_LICENSE)[1:-1]
