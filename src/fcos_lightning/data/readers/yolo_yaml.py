"""``data.yaml`` of the YOLO family: names of the classes, and where the images of a set are."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from fcos_lightning.data.readers.values import is_text
from fcos_lightning.errors import UserError, shown
from fcos_lightning.storage.small_files import read_small

#: With ten thousand names it is a quarter of this.
MAX_BYTES = 1_000_000
_DEEPEST = 12
_ENTRY = re.compile(r"[0-9]{1,9}")
_SETS = ("train", "val", "valid", "test")

#: Every value as the text that stands there: a class may be called "no", "1e3" or "2001-01-01".
_Loader: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)


@dataclass(frozen=True)
class DataYaml:
    """What a file says.

    Attributes:
        names: classes by the numbers that labels name them by; None where it does not say.
        places: paths of images by the name of their set, as written.
        base: what the paths are relative to, as written; empty where it does not say.
        key_points: whether boxes are followed by key points.
    """

    names: Mapping[int, str] | None
    places: Mapping[str, tuple[str, ...]]
    base: str
    key_points: bool


def read_data_yaml(file: Path) -> DataYaml | None:
    """Read a file; None if it is YAML of another kind.

    Raises:
        UserError: if it says what names and sets are in a way that cannot be read.
    """
    tree = _parse(file)
    if not isinstance(tree, dict) or not ({"names", "train", "val"} & set(tree)):
        return None
    if "names" not in tree and "nc" not in tree:
        return None
    return DataYaml(
        _names(tree.get("names"), file),
        {name: _paths(tree[name], name, file) for name in _SETS if tree.get(name)},
        _base(tree.get("path", ""), file),
        "kpt_shape" in tree,
    )


def _parse(file: Path) -> object:
    try:
        text = read_small(file, MAX_BYTES).decode("utf-8-sig")
        depth = 0
        for event in yaml.parse(text, Loader=_Loader):
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            # A few lines with aliases stand for billions of values.
            if depth > _DEEPEST or getattr(event, "anchor", None) is not None:
                return None
        return yaml.load(text, Loader=_Loader)
    except (UserError, UnicodeDecodeError, yaml.YAMLError, ValueError, TypeError, RecursionError):
        return None


def _names(value: object, file: Path) -> dict[int, str] | None:
    if value in (None, "", [], {}):
        return None
    names: dict[int, str] = {}
    pairs: Sequence[tuple[object, object]]
    if isinstance(value, list):
        pairs = [(str(place), name) for place, name in enumerate(value)]
    elif isinstance(value, dict):
        pairs = list(value.items())
    else:
        raise UserError(f"{file}: names is {shown(value)}, not a list of names")
    for key, name in pairs:
        if not isinstance(key, str) or not _ENTRY.fullmatch(key.strip()):
            raise UserError(f"{file}: names has the key {shown(key)}, not a number from 0")
        if not isinstance(name, str) or not name.strip() or not is_text(name):
            raise UserError(f"{file}: names[{int(key)}] is {shown(name)}, not a name")
        names[int(key)] = " ".join(name.split())
    return names


def _paths(value: object, name: str, file: Path) -> tuple[str, ...]:
    found = []
    for path in value if isinstance(value, list) else [value]:
        if not isinstance(path, str) or not path.strip() or "\0" in path:
            raise UserError(f"{file}: {name} is {shown(value)}, not a path or a list of paths")
        found.append(path.strip())
    return tuple(found)


def _base(value: object, file: Path) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise UserError(f"{file}: path is {shown(value)}, not a path")
    return value.strip()
