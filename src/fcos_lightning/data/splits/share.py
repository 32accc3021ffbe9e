"""A share of a set of images, split off by their names alone: the same in every run.

An image that is added later changes nothing for the others, except that of copies of one picture
the first in the order of names decides: they fall to validation no more often than others.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fcos_lightning.data.splits.data_split import DataSplit
from fcos_lightning.errors import UserError, shown
from fcos_lightning.storage.replacing import write_whole

#: How Roboflow names its augmented copies: ``NAME_jpg.rf.HASH.jpg``.
_COPY = re.compile(r"(.+_[A-Za-z0-9]{2,5})\.rf\.[0-9A-Za-z]+")


def share_of(split: DataSplit, share: float) -> NDArray[np.bool_]:
    """Choose the images of a share, ``[N]`` bool.

    Copies of one picture, told by their names where Roboflow made them and by their contents where
    they are byte for byte the same, lie on one side. There is an image on each side, also of few.

    Args:
        split: all images.
        share: about so much of them, above 0 and below 1.

    Raises:
        UserError: if all images are copies of one.
    """
    names = [str(name) for name in split.truth.file_names]
    keys = [picture_of(name) for name in names]
    group = _Groups(keys)
    for same in split.images.duplicates():
        first, *others = same
        for other in others:
            group.join(keys[first], keys[other])
    first_of: dict[str, str] = {}
    for key in sorted(keys):
        first_of.setdefault(group.root(key), key)
    drawn = {root: _drawn(key) for root, key in first_of.items()}
    if len(drawn) < 2:
        raise UserError(
            f"{split.name}: {len(names)} images, which are copies of one picture, cannot be shared "
            "out for training and validation; give data.val_split"
        )
    chosen = {root for root, number in drawn.items() if number < share}
    chosen = chosen or {min(drawn, key=lambda root: (drawn[root], root))}
    if len(chosen) == len(drawn):
        chosen.discard(max(drawn, key=lambda root: (drawn[root], root)))
    return np.array([group.root(key) in chosen for key in keys], dtype=bool)


def part_of(split: DataSplit, share: float) -> NDArray[np.bool_]:
    """Choose the images of a part to learn from, ``[N]`` bool.

    Each picture's name alone says whether it is in a part of this size, so that smaller parts lie
    in larger ones. What a share for validation is drawn by says nothing of it. There is an image,
    also of few; copies of one picture, told by their names, stay together.

    Args:
        split: all images.
        share: about so much of them, above 0 and at most 1.
    """
    drawn = np.array([_drawn(f"part/{picture_of(str(name))}") for name in split.truth.file_names])
    return drawn < max(share, np.nextafter(drawn.min(), 1)) if len(drawn) else drawn < share


def given_share(split: DataSplit, sides: Mapping[str, str], file: Path) -> NDArray[np.bool_]:
    """Return the images of validation as a run has written them down, ``[N]`` bool.

    Raises:
        UserError: if there are other images now.
    """
    names = [str(name) for name in split.truth.file_names]
    for image, name in enumerate(names):
        if name not in sides:
            raise UserError(
                f"{split.images.name(image)}: is not in {file}, which says what the run "
                "learns from: take it away, or start a new run"
            )
    gone = set(sides) - set(names)
    if gone:
        raise UserError(
            f"{file}: {len(gone)} of its images are no longer there, the first is "
            f"{shown(min(gone))}: bring them back, or start a new run"
        )
    return np.array([sides[name] == "val" for name in names], dtype=bool)


def write_split(train: DataSplit, val: DataSplit, file: Path) -> None:
    """Write which images are on which side, as JSON.

    Raises:
        UserError: if it cannot be written.
    """
    tree = {
        side: [str(name) for name in split.truth.file_names]
        for side, split in (("train", train), ("val", val))
    }
    write_whole(json.dumps(tree, ensure_ascii=False, indent=0) + "\n", file)


def read_split(file: Path) -> dict[str, str]:
    """Read which side each image is on.

    Raises:
        UserError: if the file is no such list.
    """
    try:
        tree: Any = json.loads(file.read_bytes())
        return {str(name): side for side in ("train", "val") for name in tree[side]}
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise UserError(
            f"{file} does not say which images are for training and which not"
        ) from None


class _Groups:
    """Keys that belong together, found by the shortest way."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._above = {key: key for key in keys}

    def root(self, key: str) -> str:
        above = self._above
        while above[key] != key:
            above[key] = above[above[key]]
            key = above[key]
        return key

    def join(self, one: str, other: str) -> None:
        self._above[self.root(other)] = self.root(one)


def picture_of(name: str) -> str:
    """What decides on an image: its name less the ending and less the mark of a copy."""
    folder, _, last = unicodedata.normalize("NFC", name).rpartition("/")
    stem = os.path.splitext(last)[0]
    copy = _COPY.fullmatch(stem)
    return f"{folder}/{copy.group(1) if copy else stem}"


def _drawn(key: str) -> float:
    """A number from 0 to 1, evenly spread over keys."""
    digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
