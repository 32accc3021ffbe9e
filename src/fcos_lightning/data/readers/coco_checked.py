"""The JSON of COCO's format as plain Python values, and a check of each value that is used.

Slower than ``coco_quick`` by far, but whatever a file holds, this one knows what to say of it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import numpy as np
from numpy.typing import NDArray

from fcos_lightning.data.readers.values import flag, is_text, number, whole
from fcos_lightning.errors import UserError, shown

Entries = list[dict[str, Any]]

_T = TypeVar("_T")


class PlainColumns:
    """What ``coco_quick.Columns`` holds, each column checked when it is asked for.

    Args:
        file: the JSON.

    Raises:
        UserError: if the file cannot be read or holds no JSON object with a list of images; and
            from every column, naming the first entry that does not fit.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        content = _parse(file)
        if not isinstance(content, dict):
            refuse(
                self.file,
                f"the top level is a {type(content).__name__}, not an object with images, "
                "annotations and categories",
            )
        self._content = content
        self._images = self._entries("images")
        self.has_annotations = "annotations" in content
        self._annotations = self._entries("annotations") if self.has_annotations else []

    @property
    def image_ids(self) -> NDArray[np.int64]:
        """``[N]``."""
        return self._integers(self._images, "images", "id")

    @property
    def file_names(self) -> list[str]:
        """``[N]``."""
        return self._texts(self._images, "images", "file_name")

    @property
    def sizes_hw(self) -> NDArray[np.int64]:
        """``[N, 2]`` pixels, both zero where the file does not state both."""
        sizes = [self._size_hw(row, image) for row, image in enumerate(self._images)]
        return np.array(sizes, dtype=np.int64).reshape(-1, 2)

    @property
    def annotated(self) -> NDArray[np.int64]:
        """``[M]`` image ids."""
        return self._integers(self._annotations, "annotations", "image_id")

    @property
    def annotated_categories(self) -> NDArray[np.int64]:
        """``[M]`` category ids."""
        return self._integers(self._annotations, "annotations", "category_id")

    @property
    def ignored(self) -> NDArray[np.bool_]:
        """``[M]``."""
        values = [entry.get("iscrowd") for entry in self._annotations]
        return np.array(self._each(values, flag, "annotations", "iscrowd", "0 or 1"), dtype=bool)

    @property
    def areas_px(self) -> NDArray[np.float64]:
        """``[M]``, NaN where the file states none."""
        values = [entry.get("area") for entry in self._annotations]
        return np.array(self._each(values, _measure, "annotations", "area", "a number"), float)

    @property
    def categories(self) -> list[tuple[int, str]] | None:
        """Ids and names, or None where the file has no such list."""
        if "categories" not in self._content:
            return None
        entries = self._entries("categories")
        ids = self._integers(entries, "categories", "id").tolist()
        return list(zip(ids, self._texts(entries, "categories", "name"), strict=True))

    @property
    def parents(self) -> list[tuple[int, str]]:
        """Ids of categories with the name of their supercategory, where they have one."""
        if "categories" not in self._content:
            return []
        entries = self._entries("categories")
        ids = self._integers(entries, "categories", "id").tolist()
        named = ((one, entry.get("supercategory")) for one, entry in zip(ids, entries, strict=True))
        return [(one, parent) for one, parent in named if isinstance(parent, str)]

    @property
    def boxless(self) -> NDArray[np.bool_]:
        """``[M]``: entries without a box, as of captions, or of outlines alone."""
        return np.array([_lacks_box(entry) for entry in self._annotations], dtype=bool)

    @property
    def boxes_xywh(self) -> NDArray[np.float64]:
        """``[M, 4]`` pixels; a ``null`` coordinate is NaN, and so are all of a box that lacks."""
        boxes = np.full((len(self._annotations), 4), math.nan)
        for row, entry in enumerate(self._annotations):
            if _lacks_box(entry):
                continue
            value = entry["bbox"]
            numbers = [_measure(one) for one in value] if isinstance(value, list) else []
            if len(numbers) != 4 or None in numbers:
                refuse(
                    self.file,
                    f"annotations[{row}] (id {self.identity(row)}) has a bbox that is not "
                    f"four numbers: {shown(value)}",
                )
            boxes[row] = numbers
        return boxes

    @property
    def annotation_ids(self) -> list[Any]:
        """``[M]``, whatever stands there; None where nothing does."""
        return [entry.get("id") for entry in self._annotations]

    def identity(self, row: int) -> str:
        """Return the id of an annotation, for messages: whatever stands there, shortened."""
        return shown(self._annotations[row].get("id"))

    def _entries(self, key: str) -> Entries:
        """The list under ``key``, whose items are objects."""
        entries = self._content.get(key)
        if not isinstance(entries, list):
            refuse(self.file, f"it has no list {key!r}")
        for row, entry in enumerate(entries):
            if not isinstance(entry, dict):
                refuse(self.file, f"{key}[{row}] is a {type(entry).__name__}, not an object")
        return entries

    def _size_hw(self, row: int, image: dict[str, Any]) -> tuple[int, int]:
        stated = image.get("height"), image.get("width")
        if not all(stated):
            return 0, 0
        height, width = map(whole, stated)
        if height is None or width is None or not (0 <= height < 2**31 and 0 <= width < 2**31):
            refuse(
                self.file,
                f"images[{row}] has width {shown(stated[1])}, height {shown(stated[0])}",
            )
        return (height, width) if height and width else (0, 0)

    def _column(self, entries: Entries, part: str, key: str) -> list[Any]:
        try:
            return [entry[key] for entry in entries]
        except KeyError:
            row = next(row for row, entry in enumerate(entries) if key not in entry)
            refuse(self.file, f"{part}[{row}] has no {key!r}")

    def _texts(self, entries: Entries, part: str, key: str) -> list[str]:
        # A class may be named by a digit that it stands for.
        values = [
            str(value) if key == "name" and type(value) is int else value
            for value in self._column(entries, part, key)
        ]
        for row, value in enumerate(values):
            if not isinstance(value, str):
                refuse(self.file, f"{part}[{row}] has {key} {shown(value)}, not a text")
            if not is_text(value):
                refuse(self.file, f"{part}[{row}] has {key} {shown(value)}, no valid Unicode")
        return values

    def _integers(self, entries: Entries, part: str, key: str) -> NDArray[np.int64]:
        """``[M]`` int64."""
        values = self._column(entries, part, key)
        plain = set(map(type, values)) == {int}
        found = values if plain else self._each(values, whole, part, key, "a whole number")
        try:
            return np.array(found, dtype=np.int64)
        except OverflowError:
            row = next(row for row, one in enumerate(found) if not -(2**63) <= one < 2**63)
            refuse(self.file, f"{part}[{row}] has {key} {shown(values[row])}, beyond 64 bit")

    def _each(
        self, values: list[Any], read: Callable[[Any], _T | None], part: str, key: str, kind: str
    ) -> list[_T]:
        """Read each value of a column; None from ``read`` means that it is not of its kind."""
        found: list[_T] = []
        for row, value in enumerate(values):
            one = read(value)
            if one is None:
                refuse(self.file, f"{part}[{row}] has {key} {shown(value)}, not {kind}")
            found.append(one)
        return found


def _parse(file: Path) -> object:
    try:
        content = file.read_bytes()
        # Bytes that are no UTF-8 matter only in a text that is used.
        text = content.decode(json.detect_encoding(content), "surrogateescape")
        del content
        return json.loads(text, object_hook=_without_outline, parse_int=_integer)
    except FileNotFoundError:
        raise UserError(f"annotation file {file} does not exist") from None
    except OSError as error:
        raise UserError(f"annotation file {file} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file} is not valid JSON: {error}") from None


def _without_outline(entry: dict[str, Any]) -> dict[str, Any]:
    """Forget an outline as soon as it is parsed: all of COCO's would fill gigabytes."""
    entry.pop("segmentation", None)
    return entry


def _integer(text: str) -> int | float:
    """Read an integer; one of hundreds of digits, which no number here can be, as a float."""
    return int(text) if len(text) < 300 else float(text)


def refuse(file: Path, problem: str) -> NoReturn:
    """Raise for a file that is not of COCO's format."""
    raise UserError(f"{file} is not a COCO detection file: {problem}")


def _lacks_box(entry: dict[str, Any]) -> bool:
    return entry.get("bbox") is None or entry["bbox"] == []


def _measure(value: object) -> float | None:
    """A number, with ``null`` as NaN."""
    return math.nan if value is None else number(value)
