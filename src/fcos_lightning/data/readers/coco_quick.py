"""The JSON of COCO's format straight into columns, for files that are as one expects them.

The decoder builds the fields that are used and no others, so an outline costs no memory, and the
list of annotations is decoded piece by piece. Of a file that does not fit it says nothing:
``coco_plain`` reads that one again, and knows what is wrong.

Legend: ``N`` images, ``M`` annotations.
"""

from __future__ import annotations

import mmap
import re
import secrets
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from fcos_lightning.data.readers.coco_checked import PlainColumns
from fcos_lightning.errors import shown

#: What is decoded at a time: its entries, and little else, fit a processor's second cache.
PIECE_BYTES = 1 << 18

# JSON's own white space: ``\s`` also stands for signs that no JSON may hold.
_LIST = re.compile(rb'"annotations"[ \t\r\n]*:[ \t\r\n]*\[')
_SEAM = re.compile(rb"\}[ \t\r\n]*,[ \t\r\n]*\{")
_END = re.compile(rb"\}[ \t\r\n]*\]")
_NOTHING = re.compile(rb"[ \t\r\n]*\]")


@dataclass(frozen=True, eq=False)
class Columns:
    """What a file lists, with nothing dropped and nothing looked up.

    Attributes:
        file: the JSON.
        image_ids: ``[N]`` int64.
        file_names: ``[N]``.
        sizes_hw: ``[N, 2]`` int64 pixels, both zero where the file does not state both.
        annotated: ``[M]`` int64, image ids.
        annotated_categories: ``[M]`` int64, category ids.
        boxes_xywh: ``[M, 4]`` float64 pixels.
        ignored: ``[M]`` bool.
        areas_px: ``[M]`` float64, NaN where the file states none.
        categories: ids and names, or None where the file has no such list.
        parents: ids of categories with the name of their supercategory, where they have one.
        boxless: ``[M]`` bool, entries without a box.
        has_annotations: whether the file has a list of annotations.
    """

    file: Path
    image_ids: NDArray[np.int64]
    file_names: list[str]
    sizes_hw: NDArray[np.int64]
    annotated: NDArray[np.int64]
    annotated_categories: NDArray[np.int64]
    boxes_xywh: NDArray[np.float64]
    ignored: NDArray[np.bool_]
    areas_px: NDArray[np.float64]
    categories: list[tuple[int, str]] | None
    parents: list[tuple[int, str]]
    boxless: NDArray[np.bool_]
    has_annotations: bool = True

    @cached_property
    def annotation_ids(self) -> list[Any]:
        """``[M]``, whatever stands there. Only messages need it, so it is read when they do."""
        try:
            return [entry.id for entry in _IDENTITIES.decode(self.file.read_bytes()).annotations]
        except (OSError, ValueError, RecursionError):
            return PlainColumns(self.file).annotation_ids

    def identity(self, row: int) -> str:
        """Return the id of an annotation, for messages."""
        return shown(self.annotation_ids[row])


# No entry can be part of a cycle, so the garbage collector need not know of them.
class _Image(msgspec.Struct, gc=False):
    id: int
    file_name: str
    height: int | None = None
    width: int | None = None


class _Annotation(msgspec.Struct, gc=False):
    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float]
    area: float | None = None
    iscrowd: Literal[0, 1] | None = None


class _Category(msgspec.Struct, gc=False):
    id: int
    name: str
    supercategory: Any = None


class _Frame(msgspec.Struct):
    """A file whose annotations have been taken out, with a mark in their place."""

    images: list[_Image]
    annotations: list[int]
    categories: list[_Category] | msgspec.UnsetType = msgspec.UNSET


class _Identity(msgspec.Struct, gc=False):
    id: Any = None


class _Identities(msgspec.Struct):
    annotations: list[_Identity]


class _Piece(NamedTuple):
    """Columns of some annotations, as in ``Columns``."""

    image_ids: NDArray[np.int64]
    category_ids: NDArray[np.int64]
    boxes_xywh: NDArray[np.float64]
    ignored: NDArray[np.bool_]
    areas_px: NDArray[np.float64]


_FRAME = msgspec.json.Decoder(_Frame)
_ANNOTATIONS = msgspec.json.Decoder(list[_Annotation])
_IDENTITIES = msgspec.json.Decoder(_Identities)


def read_quick(file: Path) -> Columns | None:
    """Read a file whose values all have the types that COCO's own have.

    What is skipped is held to the grammar of JSON only: bytes that are no UTF-8 in a field that
    is not used pass, as in the plain reader.

    Returns:
        The columns; None for any other file, readable or not.
    """
    try:
        # Mapped, not read: the pages are the system's own. What is written to them stays ours.
        with (
            file.open("rb") as opened,
            mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_COPY) as content,
        ):
            return _read(file, content)
    except (OSError, ValueError, OverflowError, RecursionError):
        return None


def _read(file: Path, content: mmap.mmap) -> Columns | None:
    opening = _LIST.search(content)
    if opening is None:
        return None
    start = opening.end()
    pieces, end = _read_annotations(content, start)
    # The list may be another one of that name, as within "info", or not the last one: then the
    # mark is not found. A file cannot know it beforehand.
    mark = secrets.randbits(62)
    frame = _FRAME.decode(b"".join((content[:start], b"%d" % mark, content[end:])))
    if frame.annotations != [mark]:
        return None
    sizes = [size or 0 for image in frame.images for size in (image.height, image.width)]
    sizes_hw = _integers(sizes).reshape(-1, 2)
    if ((sizes_hw < 0) | (sizes_hw >= 2**31)).any():
        return None
    sizes_hw[(sizes_hw == 0).any(axis=1)] = 0
    image_ids, category_ids, boxes_xywh, ignored, areas_px = map(
        np.concatenate, zip(*pieces, strict=True)
    )
    return Columns(
        file=file,
        image_ids=_integers([image.id for image in frame.images]),
        file_names=[image.file_name for image in frame.images],
        sizes_hw=sizes_hw,
        annotated=image_ids,
        annotated_categories=category_ids,
        boxes_xywh=boxes_xywh,
        ignored=ignored,
        areas_px=areas_px,
        categories=_categories(frame),
        parents=_parents(frame),
        boxless=np.zeros(len(image_ids), dtype=bool),
    )


def _read_annotations(content: mmap.mmap, start: int) -> tuple[list[_Piece], int]:
    """Decode a list of objects piece by piece.

    A piece is cut where one object seems to end and the next one to begin. That may be a wrong
    place: within an object, within a text, or behind the end of the list. But text from the
    beginning of an entry to any such place is an array, once brackets are put around it, only if
    the place lies between two entries: anywhere deeper something would be left open, and behind
    the list's end something would follow. So the decoder's success says that the cut was right.

    Args:
        content: the file; signs between pieces are overwritten.
        start: what follows the list's opening bracket.

    Returns:
        The pieces, and the place of the list's closing bracket.

    Raises:
        ValueError: if it is no list of objects of the expected types, or its end is not found.
    """
    if nothing := _NOTHING.match(content, start):
        return [_piece([])], nothing.end() - 1
    pieces = []
    while seam := _SEAM.search(content, start + PIECE_BYTES):
        try:
            pieces.append(_decode(content, start, seam.start() + 1))
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError:
            break  # behind the end, most likely
        _forget(content, start, seam.start())
        start = seam.end() - 1
    end = _END.search(content, start)
    if end is None:
        raise ValueError("no end")
    pieces.append(_decode(content, start, end.start() + 1))
    return pieces, end.end() - 1


def _decode(content: mmap.mmap, start: int, end: int) -> _Piece:
    """Decode the entries from ``start`` up to ``end``, both next to signs between entries."""
    before, behind = content[start - 1], content[end]
    content[start - 1], content[end] = b"[]"
    try:
        with memoryview(content) as whole, whole[start - 1 : end + 1] as piece:
            return _piece(_ANNOTATIONS.decode(piece))
    finally:
        content[start - 1], content[end] = before, behind


def _forget(content: mmap.mmap, start: int, end: int) -> None:
    """Let the system have whole pages between two places back, where it knows that request."""
    if hasattr(content, "madvise"):
        start, end = (place - place % mmap.PAGESIZE for place in (start, end))
        content.madvise(mmap.MADV_DONTNEED, start, end - start)


def _piece(entries: list[_Annotation]) -> _Piece:
    corners = chain.from_iterable([entry.bbox for entry in entries])
    return _Piece(
        image_ids=_integers([entry.image_id for entry in entries]),
        category_ids=_integers([entry.category_id for entry in entries]),
        boxes_xywh=np.fromiter(corners, np.float64, 4 * len(entries)).reshape(-1, 4),
        ignored=np.array([entry.iscrowd for entry in entries], dtype=bool),
        # An array of floats takes None as NaN.
        areas_px=np.array([entry.area for entry in entries], dtype=np.float64),
    )


def _categories(frame: _Frame) -> list[tuple[int, str]] | None:
    if isinstance(frame.categories, msgspec.UnsetType):
        return None
    ids = _integers([category.id for category in frame.categories]).tolist()
    return list(zip(ids, (category.name for category in frame.categories), strict=True))


def _parents(frame: _Frame) -> list[tuple[int, str]]:
    if isinstance(frame.categories, msgspec.UnsetType):
        return []
    named = ((category.id, category.supercategory) for category in frame.categories)
    return [(one, parent) for one, parent in named if isinstance(parent, str)]


def _integers(values: list[int]) -> NDArray[np.int64]:
    return np.fromiter(values, np.int64, len(values))
