"""Writes the images of a data set into tar shards, as WebDataset names them, and their index."""

from __future__ import annotations

import io
import json
import os
import re
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Literal

import numpy as np

from fcos_lightning.data.images import StoredImage, image_size
from fcos_lightning.data.splits import DataSplit
from fcos_lightning.data.stores.ahead import in_a_row
from fcos_lightning.data.stores.packed_index import (
    DIGEST_BYTES,
    INDEX,
    PackedIndex,
    PackedSet,
    Rows,
    Shard,
    columns_file,
    digest_of,
)
from fcos_lightning.data.stores.places import Place
from fcos_lightning.errors import UserError

_BLOCK = tarfile.BLOCKSIZE


@dataclass
class Packer:
    """Packs sets of images into a place that is empty.

    Attributes:
        place: where to.
        shard_bytes: a shard is closed before it becomes larger, unless one image alone is.
        skip_bad: images that cannot be read, or are of another size than annotated, are packed as
            they are; else they are an error.
        report: called after each image.
    """

    place: Place
    shard_bytes: int
    skip_bad: bool = False
    report: Callable[[], None] = lambda: None
    _written: list[str] = field(default_factory=list)

    def pack(
        self, splits: Sequence[DataSplit], title: str, protocol: Literal["coco", "voc"]
    ) -> PackedIndex:
        """Write all shards and, last, the index; where that fails, nothing of it stays.

        Args:
            splits: the sets, which have the same classes and names of their own.
            title: see ``PackedIndex``.
            protocol: see ``PackedIndex``.

        Raises:
            UserError: if the place is not empty, an image is bad, or a file cannot be written.
        """
        if not self.place.is_empty():
            raise UserError(
                f"out={self.place.text}: holds something already, and nothing is overwritten: give "
                "a new folder"
            )
        try:
            taken: set[str] = set()
            sets = tuple(self._set(split, _stem(split.name, taken)) for split in splits)
            classes = splits[0].classes
            index = PackedIndex(title, protocol, classes.names, classes.category_ids, sets)
            self._write(INDEX, index.to_json().encode())
        except BaseException:
            for name in self._written:
                self.place.remove(name)
            raise
        return index

    def _set(self, split: DataSplit, stem: str) -> PackedSet:
        number = len(split)
        rows = Rows(
            np.zeros(number, dtype=np.int32),
            np.zeros(number, dtype=np.int64),
            np.zeros(number, dtype=np.int64),
            np.zeros((number, DIGEST_BYTES), dtype=np.uint8),
        )
        shards: list[Shard] = []
        tar = _Tar()
        for image in chain.from_iterable(some.tolist() for some in in_a_row(split.images, number)):
            content = split.images.read(image)
            if not self.skip_bad:
                name = split.images.name(image)
                split.check_size(image, image_size(StoredImage(name, content)))
            about = _annotations(split, image)
            if tar.images and tar.size_with(content, about) > self.shard_bytes:
                shards.append(self._shard(f"{stem}-{len(shards):06d}.tar", tar))
                tar = _Tar()
            rows.shard[image] = len(shards)
            rows.offset[image] = tar.add(f"{image:09d}", _ending(split, image), content, about)
            rows.length[image] = len(content)
            rows.digest[image] = np.frombuffer(digest_of(content), dtype=np.uint8)
            self.report()
        shards.append(self._shard(f"{stem}-{len(shards):06d}.tar", tar))
        columns = columns_file(split.truth, rows)
        self._write(f"{stem}.npz", columns)
        return PackedSet(
            name=split.name,
            images=number,
            boxes=len(split.truth.labels),
            columns=f"{stem}.npz",
            digest=digest_of(columns).hex(),
            shards=tuple(shards),
            dropped=dict(split.dropped),
            remarks=split.remarks,
            annotated=split.annotated,
        )

    def _shard(self, name: str, tar: _Tar) -> Shard:
        content = tar.closed()
        self._write(name, content)
        return Shard(name, len(content))

    def _write(self, name: str, content: bytes) -> None:
        self._written.append(name)
        self.place.write(name, content)


class _Tar:
    """One tar file in memory, the same bytes for the same members: no times, no owners."""

    def __init__(self) -> None:
        self._out = io.BytesIO()
        self._tar = tarfile.TarFile(fileobj=self._out, mode="w", format=tarfile.USTAR_FORMAT)
        self.images = 0

    @property
    def size(self) -> int:
        return self._out.tell()

    def size_with(self, *contents: bytes) -> int:
        members = sum(_BLOCK + -(-len(one) // _BLOCK) * _BLOCK for one in contents)
        whole = self.size + members + 2 * _BLOCK  # the end of an archive is two empty blocks
        return -(-whole // tarfile.RECORDSIZE) * tarfile.RECORDSIZE

    def add(self, key: str, ending: str, content: bytes, about: bytes) -> int:
        """Add an image and its annotations; return where the image begins."""
        start = self._add(f"{key}.{ending}", content)
        self._add(f"{key}.json", about)
        self.images += 1
        return start

    def closed(self) -> bytes:
        self._tar.close()
        return self._out.getvalue()

    def _add(self, name: str, content: bytes) -> int:
        start = self.size + _BLOCK  # behind its header
        member = tarfile.TarInfo(name)
        member.size = len(content)
        self._tar.addfile(member, io.BytesIO(content))
        return start


def _annotations(split: DataSplit, image: int) -> bytes:
    """Return what other tools may want to know of an image, as JSON."""
    truth = split.truth
    rows = truth.rows(image)
    height, width = truth.sizes_hw[image].tolist()
    boxes = [
        {
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "category_id": truth.category_ids[label],
            "category": truth.class_names[label],
            "area": area,
            "ignored": ignored,
        }
        for (x1, y1, x2, y2), label, area, ignored in zip(
            truth.boxes_xyxy[rows].tolist(),
            truth.labels[rows].tolist(),
            truth.areas_px[rows].tolist(),
            truth.ignored[rows].tolist(),
            strict=True,
        )
    ]
    tree = {
        "image_id": int(truth.image_ids[image]),
        "file_name": str(truth.file_names[image]),
        "height": height,
        "width": width,
        "boxes": boxes,
    }
    return json.dumps(tree).encode()


def _ending(split: DataSplit, image: int) -> str:
    """Return the ending of an image's name, which tells other tools how to decode it."""
    ending = os.path.splitext(str(split.truth.file_names[image]))[1][1:].lower()
    return ending if re.fullmatch(r"[a-z0-9]{1,8}", ending) and ending != "json" else "image"


def _stem(name: str, taken: set[str]) -> str:
    """Return what the files of a set begin with, each set's own."""
    plain = re.sub(r"[^A-Za-z0-9_]+", "_", name).strip("_")[:60] or "set"
    stem, number = plain, 1
    while stem.lower() in taken:
        number += 1
        stem = f"{plain}_{number}"
    taken.add(stem.lower())
    return stem
