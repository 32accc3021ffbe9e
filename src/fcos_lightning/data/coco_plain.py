"""The JSON of COCO's format as plain Python values, and a check of each value that is used.

Slower than ``coco_quick`` by far, but whatever a file holds, this one knows what to say of it.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from fcos_lightning.errors import UserError

Entries = list[dict[str, Any]]


class PlainColumns:
    """What ``coco_quick.Columns`` holds, each column checked when it is asked for.

    Args:
        file: the JSON.

    Raises:
        UserError: if the file cannot be read or holds no JSON object with lists of images and
            annotations; and from every column, naming the first entry that does not fit.
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
        self._annotations = self._entries("annotations")

    @property
    def image_ids(self) -> NDArray[np.int64]:
        """``[N]``."""
        return self._integers(self._images, "images", "id")

    @property
    def file_names(self) -> list[str]:
        """``[N]``."""
        return self._strings(self._images, "images", "file_name")

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
        crowds = self._integers(self._annotations, "annotations", "iscrowd", default=0)
        return crowds.astype(bool)

    @property
    def areas_px(self) -> NDArray[np.float64]:
        """``[M]``, NaN where the file states none."""
        values = [entry.get("area") for entry in self._annotations]
        for row, value in enumerate(values):
            if not _is_number(value):
                refuse(self.file, f"annotations[{row}] has area {_short(value)}, not a number")
        return np.array([_to_float(value) for value in values], dtype=np.float64)

    @property
    def categories(self) -> list[tuple[int, str]] | None:
        """Ids and names, or None where the file has no such list."""
        if "categories" not in self._content:
            return None
        entries = self._entries("categories")
        ids = self._integers(entries, "categories", "id").tolist()
        return list(zip(ids, self._strings(entries, "categories", "name"), strict=True))

    @property
    def boxes_xywh(self) -> NDArray[np.float64]:
        """``[M, 4]`` pixels; a ``null`` coordinate is NaN."""
        values = self._column(self._annotations, "annotations", "bbox")
        if not values:
            return np.zeros((0, 4))
        try:
            boxes = np.array(values)
        except ValueError:  # rows of different lengths
            boxes = np.empty(0, dtype=object)
        if boxes.dtype.kind not in "iuf" or boxes.shape != (len(values), 4):
            for row, value in enumerate(values):
                four = isinstance(value, list) and len(value) == 4
                if not (four and all(map(_is_number, value))):
                    refuse(
                        self.file,
                        f"annotations[{row}] (id {self.identity(row)}) has a bbox that is not "
                        f"four numbers: {_short(value)}",
                    )
            boxes = np.array([[_to_float(number) for number in value] for value in values])
        return boxes.astype(np.float64)

    def identity(self, row: int) -> str:
        """Return the id of an annotation, for messages: whatever stands there, shortened."""
        return _short(self._annotations[row].get("id"))

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
        height, width = image.get("height"), image.get("width")
        if not height or not width:
            return 0, 0
        for number in (height, width):
            if not _is_number(number) or not 0 < number < 2**31 or number != int(number):
                refuse(
                    self.file, f"images[{row}] has width {_short(width)}, height {_short(height)}"
                )
        return int(height), int(width)

    def _column(self, entries: Entries, part: str, key: str) -> list[Any]:
        try:
            return [entry[key] for entry in entries]
        except KeyError:
            row = next(row for row, entry in enumerate(entries) if key not in entry)
            refuse(self.file, f"{part}[{row}] has no {key!r}")

    def _strings(self, entries: Entries, part: str, key: str) -> list[str]:
        values = self._column(entries, part, key)
        for row, value in enumerate(values):
            if not isinstance(value, str):
                refuse(self.file, f"{part}[{row}] has {key} {_short(value)}, not a text")
        return values

    def _integers(
        self, entries: Entries, part: str, key: str, default: int | None = None
    ) -> NDArray[np.int64]:
        """``[M]`` int64; a missing or null value takes ``default`` where there is one."""
        values = (
            self._column(entries, part, key)
            if default is None
            else [entry.get(key) or default for entry in entries]
        )
        for row, value in enumerate(values) if set(map(type, values)) != {int} else ():
            # Tables exported by pandas turn whole numbers into 1.0.
            if not isinstance(value, int | float) or value != value // 1:
                refuse(self.file, f"{part}[{row}] has {key} {_short(value)}, not a whole number")
        try:
            return np.array(list(map(int, values)), dtype=np.int64)
        except OverflowError:
            row = next(row for row, value in enumerate(values) if abs(value) >= 2**63)
            refuse(self.file, f"{part}[{row}] has {key} {_short(values[row])}, beyond 64 bit")


def _parse(file: Path) -> object:
    try:
        return json.loads(file.read_bytes(), object_hook=_without_outline)
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


def refuse(file: Path, problem: str) -> NoReturn:
    """Raise for a file that is not of COCO's format."""
    raise UserError(f"{file} is not a COCO detection file: {problem}")


def _is_number(value: object) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _to_float(value: float | None) -> float:
    if value is None:
        return math.nan
    try:
        return float(value)
    except OverflowError:  # an integer of more than 308 digits
        return math.inf


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
