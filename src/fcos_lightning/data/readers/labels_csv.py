"""A table of boxes: a row for each, with the image's name, two corners and the class."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from fcos_lightning.data.complaints import complain, nothing_left, unknown_class
from fcos_lightning.data.files import Folder
from fcos_lightning.data.readers.headers import Headers, headers_of_files
from fcos_lightning.data.readers.values import is_text, number, whole
from fcos_lightning.data.splits import NO_BOX, DataSplit, FoundBoxes, build_split
from fcos_lightning.errors import UserError, shown
from fcos_lightning.printing import some_of
from fcos_lightning.storage.small_files import read_small

#: A million boxes are a quarter of this.
MAX_BYTES = 400_000_000
_DELIMITERS = ",;\t|"

#: What tools call the columns.
_NAMES: dict[str, tuple[str, ...]] = {
    "file": ("filename", "file", "file_name", "image", "image_name", "image_path", "path", "img",
             "img_path", "imagename", "image_id", "imageid", "name"),
    "x1": ("xmin", "x_min", "x1", "left", "bbox_x1"),
    "y1": ("ymin", "y_min", "y1", "top", "bbox_y1"),
    "x2": ("xmax", "x_max", "x2", "right", "bbox_x2"),
    "y2": ("ymax", "y_max", "y2", "bottom", "bbox_y2"),
    "class": ("class", "label", "class_name", "classname", "category", "labelname", "label_name",
              "object", "class_id", "name"),
    "width": ("width", "image_width", "img_width"),
    "height": ("height", "image_height", "img_height"),
}  # fmt: skip
#: Of a table without a row of names, as keras-retinanet reads it.
_WITHOUT_NAMES = {"file": 0, "x1": 1, "y1": 2, "x2": 3, "y2": 4, "class": 5}
_CORNERS = ("x1", "y1", "x2", "y2")


@dataclass(frozen=True)
class Table:
    """How a table is to be read.

    Attributes:
        encoding: of its text.
        delimiter: between columns.
        columns: place of each by what it holds, ``width`` and ``height`` where they are there.
        named: whether the first row holds names.
        files: the first images.
    """

    encoding: str
    delimiter: str
    columns: Mapping[str, int]
    named: bool
    files: tuple[str, ...]


def look_at(file: Path, head_bytes: int = 65_536) -> Table | None:
    """Tell from its beginning whether a file is such a table; None if it is none."""
    try:
        with file.open("rb") as stream:
            head = stream.read(head_bytes)
    except OSError:
        return None
    wide = head.startswith((b"\xff\xfe", b"\xfe\xff"))
    encoding = "utf-16" if wide else "utf-8-sig"
    text = head.decode(encoding, "replace").replace("\r\n", "\n").replace("\r", "\n")
    lines = text.split("\n") if len(head) < head_bytes else text.split("\n")[:-1]
    for delimiter in sorted(_DELIMITERS, key=lambda one: -text.count(one)):
        rows = _rows(lines[:50], delimiter)
        if not rows:
            continue
        columns = _columns(rows[0])
        named = columns is not None
        if columns is None and _is_box(rows[0]):
            columns = dict(_WITHOUT_NAMES)
        if columns is not None:
            at = columns["file"]
            files = [row[at].strip() for row in rows[named:] if len(row) > at]
            return Table(encoding, delimiter, columns, named, tuple(dict.fromkeys(files)))
    return None


def _rows(lines: list[str], delimiter: str) -> list[list[str]]:
    """Return the rows up to the first that is none: whoever reads them all says what is wrong."""
    rows: list[list[str]] = []
    with suppress(csv.Error):
        rows.extend(row for row in csv.reader(lines, delimiter=delimiter, strict=True) if row)
    return rows


def _columns(row: Sequence[str]) -> dict[str, int] | None:
    names = [word.strip().lower().replace(" ", "_") for word in row]
    columns: dict[str, int] = {}
    for what, known in _NAMES.items():
        place = next((names.index(one) for one in known if one in names), None)
        if place is not None and place not in columns.values():
            columns[what] = place
    return columns if all(what in columns for what in ("file", "class", *_CORNERS)) else None


def _is_box(row: Sequence[str]) -> bool:
    corners = [word.strip() for word in row[1:5]]
    return len(row) == 6 and (
        all(number(one) is not None for one in corners) or not any((*corners, row[5].strip()))
    )


@dataclass
class _Rows:
    """What a table says, in columns."""

    file: list[str] = field(default_factory=list)
    corners: list[tuple[float, ...]] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    boxless: list[int] = field(default_factory=list)
    sizes_hw: dict[str, tuple[int, int]] = field(default_factory=dict)


def read_csv(
    file: Path,
    image_dir: Path,
    *,
    name: str,
    class_names: Sequence[str] | None = None,
    category_ids: Sequence[int] | None = None,
    by_last_name: bool = False,
    strict: bool = False,
    headers: Headers = headers_of_files,
) -> DataSplit:
    """Read a table of boxes.

    The first row names the columns, as ``filename, xmin, ymin, xmax, ymax, class`` in any order,
    or there is no such row and they are in this one. A row without corners and class is an image
    without objects. Images that the table does not name are not read.

    Args:
        file: the table, its columns parted by commas, semicolons, tabs or bars.
        image_dir: folder that the names of images are relative to.
        name: of the set.
        class_names: the classes in the order of their labels; None takes those found, sorted.
        category_ids: one per label; None: 1, 2, 3 and so on.
        by_last_name: of the name of an image the part behind the last separator counts.
        strict: refuse boxes that would otherwise be dropped and counted.
        headers: reads the sizes of images that the table does not state.

    Raises:
        UserError: for anything that is not such a table, a missing image, or an unknown class; it
            names file and line.
    """
    table = look_at(file)
    if table is None:
        raise UserError(
            f"{file} is no table of boxes: it needs the columns filename, xmin, ymin, xmax, ymax "
            "and class"
        )
    rows = _read(file, table, by_last_name)
    if strict and rows.boxless:
        raise UserError(
            f"{file}, line {rows.boxless[0]}: a box without a class, or a class without a box: "
            "complete it, or set strict to false to drop such rows"
        )
    names = tuple(class_names) if class_names is not None else tuple(sorted(set(rows.names) - {""}))
    if not names:
        raise nothing_left(UserError(f"{file}: no class, as none is given and no row has a box"))
    label_of = {one: label for label, one in enumerate(names)}
    images = list(dict.fromkeys(rows.file))
    folder = Folder(image_dir)
    on_disk = folder.find_all(images, file)
    place_of = {image: place for place, image in enumerate(images)}
    sizes = [rows.sizes_hw.get(image, (0, 0)) for image in images]
    unsized = [place for place, image in enumerate(images) if image not in rows.sizes_hw]
    frames = headers(folder.root, [on_disk[place] for place in unsized], oriented=False)
    for place, (size_hw, _) in zip(unsized, frames, strict=True):
        sizes[place] = size_hw
    boxes = [row for row, one in enumerate(rows.names) if one]
    for row in boxes:
        if rows.names[row] not in label_of:
            error = UserError(
                f"{file}, line {rows.lines[row]}: class {shown(rows.names[row])} is none of the "
                f"{len(names)} known: {some_of(names)}"
            )
            unknown_class(error, rows.names[row], file, f"line {rows.lines[row]}")
    boxes = [row for row in boxes if rows.names[row] in label_of]
    remarks = []
    if by_last_name:
        remarks.append("file names are paths of another place; their last parts are taken")
    return build_split(
        name=name,
        image_dir=folder.root,
        image_ids=range(1, len(images) + 1),
        file_names=on_disk,
        sizes_hw=sizes,
        boxes=FoundBoxes(
            image=np.array([place_of[rows.file[row]] for row in boxes], dtype=np.int64),
            xyxy=np.array([rows.corners[row] for row in boxes], dtype=np.float64).reshape(-1, 4),
            labels=np.array([label_of[rows.names[row]] for row in boxes], dtype=np.int64),
            ignored=np.zeros(len(boxes), dtype=bool),
            areas_px=np.full(len(boxes), np.nan),
        ),
        class_names=names,
        category_ids=list(category_ids or range(1, len(names) + 1)),
        where=lambda row: f"{file}, line {rows.lines[boxes[row]]}",
        strict=strict,
        dropped={NO_BOX: len(rows.boxless)} if rows.boxless else {},
        remarks=remarks,
    )


def _read(file: Path, table: Table, by_last_name: bool) -> _Rows:
    rows = _Rows()
    at = table.columns
    for line, row in _lines(file, table):
        words = {what: row[place].strip() if place < len(row) else "" for what, place in at.items()}
        image = words["file"]
        if not image or not is_text(image) or not is_text(words["class"]):
            raise UserError(f"{file}, line {line}: names the image {shown(image)}; correct it")
        if by_last_name:
            image = image.replace("\\", "/").rsplit("/", 1)[-1]
        name = " ".join(words["class"].split())
        corners = [words[one] for one in _CORNERS]
        found = [number(one) for one in corners]
        if any(one and value is None for one, value in zip(corners, found, strict=True)):
            error = UserError(
                f"{file}, line {line}: the corners are {shown(', '.join(corners))}, not four "
                "numbers; correct them"
            )
            complain(error, "annotation.unreadable", file, f"line {line}")
            found, corners, name = [None] * 4, [], ""
        whole_box = None not in found and name != ""
        if not whole_box:
            if any(corners) or name:
                rows.boxless.append(line)
            name, found = "", [0.0] * 4
        rows.file.append(image)
        rows.corners.append(tuple(one or 0.0 for one in found))
        rows.names.append(name)
        rows.lines.append(line)
        height, width = whole(words.get("height", "")), whole(words.get("width", ""))
        if height is not None and width is not None and min(height, width) > 0:
            if max(height, width) >= 2**31:
                raise UserError(f"{file}, line {line}: no image is {width} x {height} pixels")
            rows.sizes_hw.setdefault(image, (height, width))
    if not rows.file:
        raise UserError(f"{file} names no image")
    return rows


def _lines(file: Path, table: Table) -> Iterator[tuple[int, list[str]]]:
    """Yield the number of each row's line and its columns."""
    try:
        text = read_small(file, MAX_BYTES).decode(table.encoding)
    except UnicodeDecodeError:
        raise UserError(f"{file} is not UTF-8 text: save it as that") from None
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=table.delimiter, strict=True)
    try:
        for place, row in enumerate(reader):
            if any(word.strip() for word in row) and not (place == 0 and table.named):
                yield reader.line_num, row
    except csv.Error as error:
        raise UserError(f"{file}, line {reader.line_num}: {error}") from None
