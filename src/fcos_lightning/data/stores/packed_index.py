"""What lies beside shards: which images each holds, where in it, and all of their annotations.

``shards.json`` names the sets and their shards; ``SET.npz`` holds a set's columns. Both may come
from strangers: nothing in them is run, and what they say is checked before it is used.

Legend: ``N`` images, ``M`` boxes, ``S`` shards.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fcos_lightning.data.stores.places import Place
from fcos_lightning.errors import UserError, shown
from fcos_lightning.structures import GroundTruth

INDEX = "shards.json"
#: Of the format. A greater one is read by later versions of this package only.
VERSION = 1
#: A million shards are a quarter of this.
MOST_INDEX_BYTES = 256_000_000
#: Columns of fifty million boxes.
MOST_COLUMN_BYTES = 8_000_000_000
DIGEST_BYTES = 16

# What is written into a cache and read from disk under this name: no part of it leads elsewhere.
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,200}")
_PLACES = {"shard": np.int32, "offset": np.int64, "length": np.int64, "digest": np.uint8}
_TRUTH = {
    "image_ids": (np.int64, 1), "sizes_hw": (np.int64, 2), "first_box": (np.int64, 1),
    "boxes_xyxy": (np.float64, 2), "labels": (np.int64, 1), "ignored": (np.bool_, 1),
    "areas_px": (np.float64, 1),
}  # fmt: skip


@dataclass(frozen=True)
class Shard:
    """One tar file.

    Attributes:
        name: of the file.
        size: in bytes.
    """

    name: str
    size: int


@dataclass(frozen=True)
class PackedSet:
    """A set of images as ``shards.json`` lists it.

    Attributes:
        name: of the set.
        images: how many.
        boxes: how many.
        columns: the file of its columns.
        digest: of that file.
        shards: the tar files.
        dropped: boxes that were left out when it was packed, by reason.
        remarks: what was said of its annotations then.
        annotated: whether it has any.
    """

    name: str
    images: int
    boxes: int
    columns: str
    digest: str
    shards: tuple[Shard, ...]
    dropped: Mapping[str, int]
    remarks: tuple[str, ...]
    annotated: bool


@dataclass(frozen=True)
class PackedIndex:
    """``shards.json``.

    Attributes:
        title: the layout that was packed.
        protocol: which figures such data are judged by.
        class_names: one per label, of all sets.
        category_ids: one per label.
        sets: the sets of images.
    """

    title: str
    protocol: Literal["coco", "voc"]
    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    sets: tuple[PackedSet, ...]

    def to_json(self) -> str:
        """Return the text of the file."""
        return json.dumps({"fcos_shards": VERSION, **asdict(self)}, ensure_ascii=False, indent=1)


@dataclass(frozen=True, eq=False)
class Rows:
    """Where the images of a set are.

    Attributes:
        shard: ``[N]`` int32.
        offset: ``[N]`` int64, of the first byte of an image in its shard.
        length: ``[N]`` int64, bytes.
        digest: ``[N, 16]`` uint8, BLAKE2b of the bytes.
    """

    shard: NDArray[np.int32]
    offset: NDArray[np.int64]
    length: NDArray[np.int64]
    digest: NDArray[np.uint8]

    def kept(self, kept: NDArray[np.bool_]) -> Rows:
        """Return those of the images that a mask names."""
        return Rows(self.shard[kept], self.offset[kept], self.length[kept], self.digest[kept])


def columns_file(truth: GroundTruth, rows: Rows) -> bytes:
    """Return the content of a set's file of columns; the same for the same set."""
    arrays: dict[str, Any] = {
        key: value
        for one in (truth, rows)
        for key, value in ((field.name, getattr(one, field.name)) for field in fields(one))
        if isinstance(value, np.ndarray)
    }
    out = io.BytesIO()
    np.savez_compressed(out, **arrays)
    return out.getvalue()


def read_index(place: Place) -> PackedIndex | None:
    """Read ``shards.json``; None if there is none, or it is none of ours.

    Raises:
        UserError: if it cannot be read or says what cannot be.
    """
    content = place.whole(INDEX, MOST_INDEX_BYTES)
    if content is None:
        return None
    where = f"{place.text}/{INDEX}"
    try:
        tree = json.loads(content)
    except (ValueError, RecursionError):
        raise UserError(f"{where} is no JSON, or is cut short: pack the data again") from None
    if not isinstance(tree, dict) or "fcos_shards" not in tree:
        return None
    if tree["fcos_shards"] != VERSION:
        raise UserError(
            f"{where} is of version {shown(tree['fcos_shards'])}, and this package reads "
            f"{VERSION}: update it, or pack the data again"
        )
    try:
        index = PackedIndex(
            _text(tree["title"]),
            "voc" if tree["protocol"] == "voc" else "coco",
            tuple(_text(name) for name in tree["class_names"]),
            tuple(_number(one, lowest=-(2**62)) for one in tree["category_ids"]),
            tuple(_set(one) for one in tree["sets"]),
        )
        if len(index.class_names) != len(index.category_ids) or not index.sets:
            raise ValueError("lists do not match")
        if len({one.name for one in index.sets}) < len(index.sets):
            raise ValueError("a set is listed twice")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"{where} is not as fcos-pack writes it ({error}): pack the data again"
        ) from None
    return index


def read_columns(place: Place, index: PackedIndex, packed: PackedSet) -> tuple[GroundTruth, Rows]:
    """Read the columns of a set.

    Raises:
        UserError: if they are missing, damaged or say what cannot be.
    """
    where = f"{place.text}/{packed.columns}"
    content = place.whole(packed.columns, MOST_COLUMN_BYTES)
    if content is None:
        raise UserError(f"{where} is missing: pack the data again, or copy all of it")
    if digest_of(content).hex() != packed.digest:
        raise UserError(f"{where} is damaged, or of another packing: copy or pack the data again")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            unpacked = sum(info.file_size for info in archive.infolist())
        # 4 bytes a letter, and names of files are a thousand at most.
        if unpacked > 10_000 + packed.images * 4_200 + packed.boxes * 80:
            raise ValueError("it unpacks to more than it can hold")
        with np.load(io.BytesIO(content), allow_pickle=False) as kept:
            arrays = {key: kept[key] for key in kept.files}
        truth, rows = _checked(arrays, index, packed)
    except Exception as error:  # a damaged file fails in any way it likes
        raise UserError(f"{where} is not as fcos-pack writes it ({error})") from None
    return truth, rows


def _checked(
    arrays: Mapping[str, NDArray[Any]], index: PackedIndex, packed: PackedSet
) -> tuple[GroundTruth, Rows]:
    number, boxes = packed.images, packed.boxes
    shapes: dict[str, tuple[int, ...]] = {
        **dict.fromkeys(("image_ids", "shard", "offset", "length", "file_names"), (number,)),
        **dict.fromkeys(("labels", "ignored", "areas_px"), (boxes,)),
        "sizes_hw": (number, 2),
        "first_box": (number + 1,),
        "boxes_xyxy": (boxes, 4),
        "digest": (number, DIGEST_BYTES),
    }
    kinds = {**_PLACES, **{key: kind for key, (kind, _) in _TRUTH.items()}}
    for key, shape in shapes.items():
        if arrays[key].shape != shape:
            raise ValueError(f"{key} has the shape {arrays[key].shape}, not {shape}")
        if key != "file_names" and arrays[key].dtype != kinds[key]:
            raise ValueError(f"{key} holds {arrays[key].dtype}")
    if arrays["file_names"].dtype.kind != "U":
        raise ValueError("file_names are no texts")
    first = arrays["first_box"]
    if first[0] != 0 or first[-1] != boxes or (np.diff(first) < 0).any():
        raise ValueError("first_box does not count up")
    labels = arrays["labels"]
    if len(labels) and not 0 <= labels.min() <= labels.max() < len(index.class_names):
        raise ValueError("a label is of no class")
    shard, offset, length = arrays["shard"], arrays["offset"], arrays["length"]
    if number and not 0 <= shard.min() <= shard.max() < len(packed.shards):
        raise ValueError("an image is in no shard")
    sizes = np.array([one.size for one in packed.shards], dtype=np.int64)
    if (offset < 0).any() or (length < 0).any() or (length > sizes[shard] - offset).any():
        raise ValueError("an image is outside its shard")
    truth = GroundTruth(
        **{key: arrays[key] for key in _TRUTH},
        file_names=arrays["file_names"],
        class_names=index.class_names,
        category_ids=index.category_ids,
    )
    return truth, Rows(shard, offset, length, arrays["digest"])


def digest_of(content: bytes) -> bytes:
    """Return what tells an image's bytes from others."""
    import hashlib

    return hashlib.blake2b(content, digest_size=DIGEST_BYTES).digest()


def _set(tree: Mapping[str, Any]) -> PackedSet:
    return PackedSet(
        name=_text(tree["name"]),
        images=_number(tree["images"]),
        boxes=_number(tree["boxes"]),
        columns=_file_name(tree["columns"]),
        digest=_text(tree["digest"]),
        shards=tuple(
            Shard(_file_name(one["name"]), _number(one["size"])) for one in tree["shards"]
        ),
        dropped={_text(key): _number(value) for key, value in tree["dropped"].items()},
        remarks=tuple(_text(one) for one in tree["remarks"]),
        annotated=bool(tree["annotated"]),
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{shown(value)} is no text")
    return value


def _number(value: object, lowest: int = 0) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not lowest <= value < 2**62:
        raise TypeError(f"{shown(value)} is no whole number")
    return value


def _file_name(value: object) -> str:
    name = _text(value)
    if not _FILE_NAME.fullmatch(name):
        raise ValueError(f"{shown(name)} is no name of a file")
    return name
