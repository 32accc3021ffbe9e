"""Text files of the YOLO family: a line for each box, in parts of its image's width and height."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fcos_lightning.data.complaints import complain, unknown_class
from fcos_lightning.data.images.orientation import as_stored, is_turned_by
from fcos_lightning.data.readers.headers import Headers, headers_of_files
from fcos_lightning.data.readers.plausible import in_pixels
from fcos_lightning.data.readers.values import number, whole
from fcos_lightning.data.splits import DataSplit, FoundBoxes, build_split
from fcos_lightning.errors import UserError, shown
from fcos_lightning.printing import some_of
from fcos_lightning.storage.small_files import read_small

#: A thousand outlines of a hundred corners are a quarter of this.
MAX_BYTES = 8_000_000
#: A class and a box; what is longer is an outline, or a box with key points.
_BOX = 5


@dataclass
class _Lines:
    """What all files say, in columns."""

    image: list[int] = field(default_factory=list)
    category: list[int] = field(default_factory=list)
    xyxy: list[tuple[float, float, float, float]] = field(default_factory=list)
    places: list[tuple[Path, int]] = field(default_factory=list)
    odd: Counter[str] = field(default_factory=Counter)

    def keep(self, wanted: Sequence[bool]) -> None:
        """Drop the other lines."""
        if not all(wanted):
            for column in (self.image, self.category, self.xyxy, self.places):
                column[:] = compress(column, wanted)  # type: ignore[arg-type]  # each of its own kind


def read_yolo(
    image_dir: Path,
    images: Sequence[str],
    labels: Sequence[Path | None],
    *,
    name: str,
    class_names: Sequence[str],
    category_ids: Sequence[int] | None = None,
    numbers: Mapping[int, int] | None = None,
    key_points: bool = False,
    strict: bool = False,
    headers: Headers = headers_of_files,
) -> DataSplit:
    """Read one set of images with a text file for each.

    A line holds the class, from 0, and centre, width and height of the box as fractions of the
    image as it is looked at: where an EXIF orientation turns it, the box is turned back. Outlines
    and oriented boxes, an even number of at least six coordinates, become the boxes around them,
    and are counted. An image without a file has no objects.

    Args:
        image_dir: folder that the names of the images are below.
        images: ``[N]``.
        labels: ``[N]`` their files, None where there is none.
        name: of the set.
        class_names: one per label.
        category_ids: one per label; None: 0, 1, 2 and so on.
        numbers: labels by the numbers in the files; None: these are the ``category_ids``.
        key_points: whether key points follow a box.
        strict: refuse boxes that would otherwise be dropped and counted.
        headers: reads the sizes of images.

    Raises:
        UserError: for a file that cannot be read, a line that is none, or an unknown class; it
            names file and line.
    """
    ids = list(range(len(class_names))) if category_ids is None else list(category_ids)
    found = _Lines()
    frames = headers(image_dir, images, oriented=True)
    turned = 0
    for image, ((_, orientation), label) in enumerate(zip(frames, labels, strict=True)):
        first = len(found.xyxy)
        if label is not None:
            _read_file(label, image, key_points, found)
        if is_turned_by(orientation) and len(found.xyxy) > first:
            turned += 1
            found.xyxy[first:] = map(tuple, as_stored(np.array(found.xyxy[first:]), orientation))

    label_of = (
        numbers if numbers is not None else {category: label for label, category in enumerate(ids)}
    )
    for category, (file, line) in zip(found.category, found.places, strict=True):
        if category not in label_of:
            error = UserError(
                f"{file}, line {line}: class {shown(category)} is none of the {len(label_of)} "
                f"known, which are {_range(list(label_of))}; correct it, or the list of names"
            )
            unknown_class(error, category, file, f"line {line}")
    found.keep([category in label_of for category in found.category])
    of_image = np.array(found.image, dtype=np.int64)
    sizes = np.array([size_hw for size_hw, _ in frames], dtype=np.int64).reshape(-1, 2)
    scale = sizes[:, [1, 0, 1, 0]].take(of_image, axis=0).astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        xyxy: NDArray[np.float64] = np.array(found.xyxy, dtype=np.float64).reshape(-1, 4) * scale

    def where(row: int) -> str:
        file, line = found.places[row]
        return f"{file}, line {line}"

    return build_split(
        name=name,
        image_dir=image_dir,
        image_ids=range(1, len(images) + 1),
        file_names=images,
        sizes_hw=sizes,
        boxes=FoundBoxes(
            image=of_image,
            xyxy=xyxy,
            labels=np.array([label_of[one] for one in found.category], dtype=np.int64),
            ignored=np.zeros(len(found.category), dtype=bool),
            areas_px=np.full(len(found.category), np.nan),
        ),
        class_names=class_names,
        category_ids=ids,
        where=where,
        strict=strict,
        remarks=_remarks(found, labels, turned),
    )


def read_lines(file: Path) -> list[str]:
    """Return the lines of a text file.

    Raises:
        UserError: if it cannot be read, is too large or is no text.
    """
    content = read_small(file, MAX_BYTES)
    wide = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        text = content.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{file} is not UTF-8 text") from None
    # Not ``splitlines``, to which more signs end a line than to an editor that counts them.
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def _read_file(file: Path, image: int, key_points: bool, found: _Lines) -> None:
    seen: set[str] = set()
    try:
        lines = read_lines(file)
    except UserError as error:
        complain(error, "annotation.unreadable", file)
        return
    for place, line in enumerate(lines, start=1):
        words = line.split()
        if not words:
            continue
        same = " ".join(words)
        if same in seen:
            found.odd["again"] += 1
            continue
        seen.add(same)
        category, numbers = whole(words[0]), [number(word) for word in words[1:]]
        if category is None or category < 0 or None in numbers or len(words) < _BOX:
            wrong = UserError(
                f"{file}, line {place}: expected a class from 0 and at least four numbers, not "
                f"{shown(line)}; correct the line"
            )
            complain(wrong, "annotation.unreadable", file, f"line {place}")
            continue
        found.image.append(image)
        found.category.append(category)
        found.xyxy.append(_box([one for one in numbers if one is not None], key_points, found))
        found.places.append((file, place))


def _box(
    numbers: Sequence[float], key_points: bool, found: _Lines
) -> tuple[float, float, float, float]:
    if len(numbers) >= 6 and len(numbers) % 2 == 0 and not key_points:
        found.odd["outlines"] += 1
        across, down = numbers[0::2], numbers[1::2]
        # numpy's, as NaN has to stay NaN: it is counted then.
        return (
            float(np.min(across)),
            float(np.min(down)),
            float(np.max(across)),
            float(np.max(down)),
        )
    if len(numbers) > _BOX - 1:
        found.odd["more"] += 1
    x, y, width, height = numbers[:4]
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def _remarks(found: _Lines, labels: Sequence[Path | None], turned: int) -> list[str]:
    bare = sum(label is None for label in labels)
    counted: list[tuple[int, Callable[[int], str]]] = [
        (
            found.odd["outlines"],
            lambda n: f"{n} outlines or oriented boxes became the boxes around them",
        ),
        (found.odd["more"], lambda n: f"{n} lines hold more than a box; the rest is not used"),
        (found.odd["again"], lambda n: f"{n} lines stand twice in their file; they are taken once"),
        (bare, lambda n: f"{n} images have no text file; they count as images without objects"),
        (
            turned,
            lambda n: f"the boxes of {n} images were turned as these are by their EXIF orientation",
        ),
    ]
    remarks = [say(count) for count, say in counted if count]
    if in_pixels(np.array(found.xyxy)):
        remarks.append(
            "most coordinates are far beyond 1: the files have to hold parts of the image, not "
            "pixels"
        )
    return remarks


def _range(ids: Sequence[int]) -> str:
    if not ids:
        return "none"
    if list(ids) == list(range(len(ids))):
        return f"0 to {len(ids) - 1}"
    return some_of([str(one) for one in ids])
