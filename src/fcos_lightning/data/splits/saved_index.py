"""Keeps what was read of a large annotation file, so that the next run need not read it again."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from fcos_lightning.data.splits.data_split import DataSplit
from fcos_lightning.errors import UserError
from fcos_lightning.storage.caches import cache_folder
from fcos_lightning.storage.replacing import replacing
from fcos_lightning.structures import GroundTruth

#: To be raised whenever the same files would be read into something else.
VERSION = 3
#: A smaller file is read within 20 ms, so nothing is kept of it.
WORTH_BYTES = 4_000_000
#: What has changed this short a time ago could change again and bear the same time after: the
#: coarsest file systems (FAT) count in steps of two seconds.
UNSETTLED_NS = 2_000_000_000

_SAMPLES = 16
_SAMPLE_BYTES = 4096


@dataclass(frozen=True)
class SavedIndex:
    """The place in the user's cache folder where one way to read one file is kept.

    It holds for as long as all of these stay as they were when the file was read:

    - the annotation file: its size, the times of its last change (of content and of inode, which
      no program can set back) and 64 KiB of it, taken from 16 places;
    - the image folder and those below it that were looked into: the time of their last change,
      which is when a file was added, removed or renamed.

    So a changed annotation file, a missing image and a new one are noticed. Not noticed is an
    image whose content changes in its place, or the goal of a link: those are seen when the image
    is read, as ever.

    Attributes:
        path: of the file in the cache, which need not exist.
        image_dir: resolved.
        name: of the split.
        state: of the annotation file, with the version of what is kept.
        settled_before_ns: what changed later than this may not be kept.
        changed_ns: when the annotation file changed.
    """

    path: Path
    image_dir: Path
    name: str
    state: list[object]
    settled_before_ns: int
    changed_ns: int

    @classmethod
    def of(cls, file: Path, image_dir: Path, options: object) -> SavedIndex | None:
        """Look at an annotation file.

        Args:
            file: the JSON.
            image_dir: the images.
            options: whatever else decides on what is read, in values that JSON knows.

        Returns:
            None where nothing would be gained, or there is no such file or no cache folder.
        """
        now_ns = time.time_ns()
        try:
            with file.open("rb") as opened:
                stat = os.fstat(opened.fileno())
                if stat.st_size < WORTH_BYTES:
                    return None
                sample = hashlib.blake2b(digest_size=16)
                for offset in np.linspace(0, stat.st_size - _SAMPLE_BYTES, _SAMPLES, dtype=int):
                    opened.seek(offset)
                    sample.update(opened.read(_SAMPLE_BYTES))
            # One file for each way to read a data set: a newer one takes the older one's place.
            way = json.dumps([str(file.resolve()), str(image_dir.resolve()), options])
            digest = hashlib.blake2b(way.encode(), digest_size=8).hexdigest()
            folder = cache_folder()
        except (OSError, UserError):  # UserError: a user without a home
            return None
        return cls(
            path=folder / "index" / f"{file.stem}-{digest}.npz",
            image_dir=image_dir.resolve(),
            name=file.stem,
            state=[
                VERSION,
                stat.st_size,
                stat.st_mtime_ns,
                stat.st_ctime_ns,
                sample.hexdigest(),
            ],
            settled_before_ns=now_ns - UNSETTLED_NS,
            changed_ns=max(stat.st_mtime_ns, stat.st_ctime_ns),
        )

    def load(self) -> DataSplit | None:
        """Return what was kept, or None where there is nothing, or nothing that still holds."""
        # A damaged file fails in any way it likes. All of it is read, checksums included, rather
        # than mapped: 60 MB for COCO, which forked loader workers share.
        try:
            with np.load(self.path, allow_pickle=False) as kept:
                about = json.loads(bytes(kept["about"]))
                if about["state"] != self.state or not self._still(about["listed_ns"]):
                    return None
                arrays = {key: kept[key] for key in kept.files if key != "about"}
            truth = GroundTruth(
                **arrays,
                class_names=tuple(about["class_names"]),
                category_ids=tuple(about["category_ids"]),
            )
        except Exception:
            return None
        return DataSplit(
            truth,
            self.image_dir,
            about["dropped"],
            self.name,
            tuple(about["remarks"]),
            about["annotated"],
        )

    def save(self, split: DataSplit, listed_ns: Mapping[str, int]) -> None:
        """Keep what was read, unless something may still be changing; a full disk is no error.

        Args:
            split: what was read.
            listed_ns: when each folder below ``image_dir`` that was looked into had changed.
        """
        if max(self.changed_ns, *listed_ns.values()) > self.settled_before_ns:
            return
        truth = split.truth
        values = {field.name: getattr(truth, field.name) for field in fields(truth)}
        arrays: dict[str, Any] = {
            key: value for key, value in values.items() if isinstance(value, np.ndarray)
        }
        about: dict[str, Any] = {
            "state": self.state,
            "listed_ns": listed_ns,
            "class_names": truth.class_names,
            "category_ids": truth.category_ids,
            "dropped": split.dropped,
            "remarks": split.remarks,
            "annotated": split.annotated,
        }
        text = np.frombuffer(json.dumps(about).encode(), dtype=np.uint8)
        with suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # Other processes may be at the same: each writes a draft of its own and renames it.
            with replacing(self.path, durable=False) as file:
                np.savez(file, about=text, **arrays)

    def _still(self, listed_ns: Mapping[str, int]) -> bool:
        return all(
            (self.image_dir / folder).stat().st_mtime_ns == changed
            for folder, changed in listed_ns.items()
        )
