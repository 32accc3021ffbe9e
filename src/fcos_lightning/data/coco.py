"""COCO detection annotations. Parsing gives plain Python values; building checks them all."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from fcos_lightning.data.files import Folder
from fcos_lightning.data.images import image_size
from fcos_lightning.data.index import DataSplit, FoundBoxes, build_split
from fcos_lightning.errors import UserError

UNKNOWN_IMAGE = "of an image that is not listed"

Entries = list[dict[str, Any]]


def read_coco(
    annotation_file: Path,
    image_dir: Path,
    *,
    categories: Mapping[int, str] | None = None,
    strict: bool = False,
) -> DataSplit:
    """Read annotations in COCO's detection format.

    Annotations need ``bbox``, ``category_id`` and ``image_id``; images need ``id`` and
    ``file_name``. A missing ``area`` becomes width times height, a missing ``iscrowd`` 0, and a
    missing image size is read from the file. Annotation ids are not used, so they may repeat.
    Labels follow the category ids in ascending order, annotated or not.

    Args:
        annotation_file: the JSON.
        image_dir: folder that each ``file_name`` is relative to.
        categories: names by category id, from the training split; None takes the file's own.
        strict: refuse boxes that would otherwise be dropped and counted.

    Raises:
        UserError: for anything that is not such a file, a missing or outside image file, or a
            category that is not listed. A ``null`` coordinate counts as NaN; any other
            coordinate that is not a number is refused, strict or not.
    """
    return _Builder(annotation_file, _parse(annotation_file)).build(image_dir, categories, strict)


def _parse(annotation_file: Path) -> object:
    """Read the JSON into plain Python values. A faster parser would replace this function."""
    try:
        return json.loads(annotation_file.read_bytes(), object_hook=_without_outline)
    except FileNotFoundError:
        raise UserError(f"annotation file {annotation_file} does not exist") from None
    except OSError as error:
        raise UserError(
            f"annotation file {annotation_file} cannot be read: {error.strerror}"
        ) from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{annotation_file} is not valid JSON: {error}") from None


def _without_outline(entry: dict[str, Any]) -> dict[str, Any]:
    """Forget an outline as soon as it is parsed: all of COCO's would fill gigabytes."""
    entry.pop("segmentation", None)
    return entry


class _Builder:
    """Checks one parsed file and turns it into arrays.

    Args:
        file: for messages.
        content: what the JSON held.
    """

    def __init__(self, file: Path, content: object) -> None:
        self.file = file
        if not isinstance(content, dict):
            self.refuse(
                f"the top level is a {type(content).__name__}, not an object with images, "
                "annotations and categories"
            )
        self.content = content

    def refuse(self, problem: str) -> NoReturn:
        raise UserError(f"{self.file} is not a COCO detection file: {problem}")

    def build(
        self, image_dir: Path, categories: Mapping[int, str] | None, strict: bool
    ) -> DataSplit:
        images = self.entries("images")
        annotations = self.entries("annotations")
        names = self.categories(categories)
        if not images:
            raise UserError(f"{self.file} lists no images")
        if not names:
            raise UserError(f"{self.file} has no categories: at least one class is needed")

        image_ids = self.integers(images, "images", "id")
        order = np.argsort(image_ids, kind="stable")
        sorted_ids = image_ids[order]
        twice = np.flatnonzero(sorted_ids[1:] == sorted_ids[:-1])
        if len(twice):
            raise UserError(f"{self.file}: image id {sorted_ids[twice[0]]} is listed twice")
        folder = Folder(image_dir)
        file_names = folder.find_all(self.strings(images, "images", "file_name"), self.file)
        sizes_hw = [
            self.size_hw(row, image, folder.root, name)
            for row, (image, name) in enumerate(zip(images, file_names, strict=True))
        ]

        annotated = self.integers(annotations, "annotations", "image_id")
        position = np.searchsorted(sorted_ids, annotated)
        listed = sorted_ids[np.minimum(position, len(sorted_ids) - 1)] == annotated
        rows = np.flatnonzero(listed)
        if strict and len(rows) < len(annotations):
            row = int(np.flatnonzero(~listed)[0])
            raise UserError(
                f"{self.file}: annotation id {_short(annotations[row].get('id'))} belongs to image "
                f"id {annotated[row]}, which is not listed under images"
            )
        in_image = order[position[rows]]
        found = FoundBoxes(
            image=in_image,
            xyxy=self.boxes_xyxy(annotations)[rows],
            labels=self.labels(annotations, sorted(names))[rows],
            ignored=self.integers(annotations, "annotations", "iscrowd", default=0)[rows] != 0,
            areas_px=self.numbers(annotations, "annotations", "area")[rows],
        )

        def where(row: int) -> str:
            annotation = annotations[rows[row]]
            file_name = file_names[in_image[row]]
            return (
                f"{self.file}: image {file_name!r}, annotation id {_short(annotation.get('id'))} "
                f"(annotations[{rows[row]}])"
            )

        unlisted = len(annotations) - len(rows)
        return build_split(
            name=self.file.stem,
            image_dir=folder.root,
            image_ids=image_ids,
            file_names=file_names,
            sizes_hw=sizes_hw,
            boxes=found,
            class_names=[names[category] for category in sorted(names)],
            category_ids=sorted(names),
            where=where,
            strict=strict,
            dropped={UNKNOWN_IMAGE: unlisted} if unlisted else {},
        )

    def entries(self, key: str) -> Entries:
        """The list under ``key``, whose items are objects."""
        entries = self.content.get(key)
        if not isinstance(entries, list):
            self.refuse(f"it has no list {key!r}")
        for row, entry in enumerate(entries):
            if not isinstance(entry, dict):
                self.refuse(f"{key}[{row}] is a {type(entry).__name__}, not an object")
        return entries

    def categories(self, given: Mapping[int, str] | None) -> Mapping[int, str]:
        """Names by category id: those given, else the file's own."""
        if given is not None and "categories" not in self.content:
            return given
        entries = self.entries("categories")
        ids = [int(number) for number in self.integers(entries, "categories", "id")]
        own: dict[int, str] = {}
        for category, name in zip(ids, self.strings(entries, "categories", "name"), strict=True):
            if category in own:
                raise UserError(f"{self.file}: category id {category} is listed twice")
            own[category] = name
        if given is None:
            return own
        # A spelling may differ between files; the same names under other ids are a mix-up.
        given_ids = {name: category for category, name in given.items()}
        for category, name in own.items():
            if given.get(category, name) != name and given_ids.get(name, category) != category:
                raise UserError(
                    f"{self.file}: category id {category} is {name!r} here, but "
                    f"{given[category]!r} in training, where {name!r} has id {given_ids[name]}"
                )
        return given

    def labels(self, annotations: Entries, category_ids: Sequence[int]) -> NDArray[np.int64]:
        """``[M]`` position of each annotation's category among the sorted ``category_ids``."""
        known = np.asarray(category_ids, dtype=np.int64)
        found = self.integers(annotations, "annotations", "category_id")
        labels = np.minimum(np.searchsorted(known, found), len(known) - 1)
        unknown = np.flatnonzero(known[labels] != found)
        if len(unknown):
            row = int(unknown[0])
            raise UserError(
                f"{self.file}: annotation id {_short(annotations[row].get('id'))} has category id "
                f"{found[row]}, which is none of the {len(known)} known categories"
            )
        return labels.astype(np.int64)

    def boxes_xyxy(self, annotations: Entries) -> NDArray[np.float64]:
        """``[M, 4]`` float64 pixels, from COCO's x, y, width, height."""
        values = self.column(annotations, "annotations", "bbox")
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
                    identity = _short(annotations[row].get("id"))
                    self.refuse(
                        f"annotations[{row}] (id {identity}) has a bbox that is not four numbers: "
                        f"{_short(value)}"
                    )
            boxes = np.array([[_to_float(number) for number in value] for value in values])
        xyxy = boxes.astype(np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            xyxy[:, 2:] += xyxy[:, :2]
        return xyxy

    def size_hw(self, row: int, image: dict[str, Any], folder: Path, name: str) -> tuple[int, int]:
        """Height and width as listed, or from the image's header where not listed."""
        height, width = image.get("height"), image.get("width")
        if not height or not width:
            return image_size(folder / name)
        for number in (height, width):
            if not _is_number(number) or not 0 < number < 2**31 or number != int(number):
                self.refuse(f"images[{row}] has width {_short(width)}, height {_short(height)}")
        return int(height), int(width)

    def column(self, entries: Entries, part: str, key: str) -> list[Any]:
        try:
            return [entry[key] for entry in entries]
        except KeyError:
            row = next(row for row, entry in enumerate(entries) if key not in entry)
            self.refuse(f"{part}[{row}] has no {key!r}")

    def strings(self, entries: Entries, part: str, key: str) -> list[str]:
        values = self.column(entries, part, key)
        for row, value in enumerate(values):
            if not isinstance(value, str):
                self.refuse(f"{part}[{row}] has {key} {_short(value)}, not a text")
        return values

    def integers(
        self, entries: Entries, part: str, key: str, default: int | None = None
    ) -> NDArray[np.int64]:
        """``[M]`` int64; a missing or null value takes ``default`` where there is one."""
        values = (
            self.column(entries, part, key)
            if default is None
            else [entry.get(key) or default for entry in entries]
        )
        for row, value in enumerate(values) if set(map(type, values)) != {int} else ():
            # Tables exported by pandas turn whole numbers into 1.0.
            if not isinstance(value, int | float) or value != value // 1:
                self.refuse(f"{part}[{row}] has {key} {_short(value)}, not a whole number")
        try:
            return np.array(list(map(int, values)), dtype=np.int64)
        except OverflowError:
            row = next(row for row, value in enumerate(values) if abs(value) >= 2**63)
            self.refuse(f"{part}[{row}] has {key} {_short(values[row])}, beyond 64 bit")

    def numbers(self, entries: Entries, part: str, key: str) -> NDArray[np.float64]:
        """``[M]`` float64; a missing or null value is NaN."""
        values = [entry.get(key) for entry in entries]
        if set(map(type, values)) == {float}:
            return np.array(values, dtype=np.float64)
        for row, value in enumerate(values):
            if not _is_number(value):
                self.refuse(f"{part}[{row}] has {key} {_short(value)}, not a number")
        return np.array([_to_float(value) for value in values], dtype=np.float64)


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
