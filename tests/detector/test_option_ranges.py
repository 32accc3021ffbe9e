"""Every number that a part takes has a range, and the part refuses what lies outside."""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass
from typing import Any

import pytest

from fcos_lightning.detector.fpn import FPNOptions
from fcos_lightning.detector.lookup import part_names, part_of
from fcos_lightning.detector.parts import Assigner, Decoder, HeadOptions, Loss, Part
from fcos_lightning.errors import UserError


def numbers() -> list[tuple[type[Part], str]]:
    """Each option of each part whose default is a number, or no number yet."""
    parts: list[type[Part]] = [FPNOptions]
    for kind in (HeadOptions, Assigner, Loss, Decoder):
        parts += [type(part_of(kind, {"name": name})) for name in part_names(kind)]
    found = []
    for part in parts:
        assert is_dataclass(part)
        for one in fields(part):
            if re.search(r"\b(int|float)\b", str(one.type)) and "tuple" not in str(one.type):
                found.append((part, one.name))
    return found


@pytest.mark.parametrize(
    ("part", "option"), numbers(), ids=lambda one: one if isinstance(one, str) else one.__name__
)
def test_a_number_below_its_range_is_refused(part: type[Part], option: str) -> None:
    kind: Any = part
    with pytest.raises(UserError, match=rf"model\.{part.kind}\.{option}=-3(\.0)?: give ") as caught:
        kind(**{option: -3})
    assert "\n" not in str(caught.value)


def test_there_are_as_many_as_the_house_has() -> None:
    assert len(numbers()) > 60
