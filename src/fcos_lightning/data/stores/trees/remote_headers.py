"""Headers of images on object storage: asked for once, a few kilobytes each, and remembered."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fcos_lightning.data.images import StoredImage, image_header
from fcos_lightning.data.readers.headers import Frame, frame_of, no_frame
from fcos_lightning.data.stores.store import StoreError
from fcos_lightning.data.stores.trees.kept_images import KeptImages
from fcos_lightning.data.stores.trees.listing import Listed
from fcos_lightning.data.stores.trees.mirror import Mirror
from fcos_lightning.data.stores.trees.objects import read_object, read_part
from fcos_lightning.data.stores.trees.remote_images import THREADS
from fcos_lightning.errors import UserError
from fcos_lightning.storage.bars import counting_bar
from fcos_lightning.storage.caches import waiting_for
from fcos_lightning.storage.replacing import replacing

#: Of most images the header, with all that is written before the pixels, is shorter.
HEAD_BYTES = 65_536
#: Formats that say all of it before the pixels; PNG may have its orientation behind them.
_HEAD_FIRST = ("JPEG", "MPO")
_FILE = "headers.npz"
#: Of an image whose orientation nobody has asked for.
_UNKNOWN = 0


@dataclass(frozen=True, eq=False)
class RemoteHeaders:
    """Reads headers of the images of a mirror, see ``Headers``.

    Attributes:
        mirror: where their names are.
        cache: takes images that were needed as a whole; None: they are not kept.
    """

    mirror: Mirror
    cache: KeptImages | None

    def __call__(
        self, folder: Path, names: Sequence[str], *, oriented: bool, skip: bool = False
    ) -> list[Frame]:
        """Return the frames of images, see ``Headers``."""
        if not names:
            return []
        begin = self.mirror.below(folder)
        listing = self.mirror.listing()
        objects = [listing[listing.rows[f"{begin}{name}"]] for name in names]
        del listing
        # Other processes of this machine wait, and find what this one has asked for.
        with waiting_for(self.mirror.base / ".headers.lock"):
            known = _Known.read(self.mirror.base / _FILE)
            frames = known.frames(objects, oriented)
            missing = [place for place, frame in enumerate(frames) if frame is None]
            wrong: dict[int, UserError] = {}
            try:
                with (
                    ThreadPoolExecutor(THREADS) as pool,
                    counting_bar("headers", len(missing), shown=bool(missing)) as advance,
                ):
                    looks = pool.map(
                        lambda place: self._frame(objects[place], oriented), missing, chunksize=1
                    )
                    try:
                        for place, found in zip(missing, looks, strict=True):
                            if isinstance(found, UserError):
                                wrong[place] = found
                            else:
                                frames[place] = found
                            advance()
                    except BaseException:
                        pool.shutdown(wait=False, cancel_futures=True)
                        raise
            finally:
                new = [place for place in missing if frames[place] is not None]
                known.with_frames(
                    [objects[place] for place in new],
                    [frame for place in new if (frame := frames[place]) is not None],
                    oriented,
                ).write(self.mirror.base / _FILE)
        return [
            no_frame(wrong[place], skip) if frame is None else frame
            for place, frame in enumerate(frames)
        ]

    def _frame(self, one: Listed, oriented: bool) -> Frame | UserError:
        """Return the frame of an image, from its beginning where that says it."""
        name = f"{self.mirror.place.text}/{one.name}"
        try:
            if one.size > HEAD_BYTES and not (self.cache and self.cache.has(one)):
                head = StoredImage(name, read_part(self.mirror.place, one, 0, HEAD_BYTES))
                with suppress(UserError):
                    kind = image_header(head).format
                    if kind in _HEAD_FIRST or (kind == "PNG" and not oriented):
                        return frame_of(head, oriented)
            if self.cache is None:
                whole = read_object(self.mirror.place, one)
            else:
                whole = self.cache.read(one)
            return frame_of(StoredImage(name, whole), oriented)
        except StoreError:
            raise
        except UserError as error:
            return error


@dataclass(frozen=True, eq=False)
class _Known:
    """What was found before.

    Legend: ``K`` images.

    Attributes:
        keys: ``[K]`` bytes, ascending, see ``Listed``.
        values: ``[K, 3]`` int64: height, width, orientation.
    """

    keys: NDArray[np.bytes_]
    values: NDArray[np.int64]

    @classmethod
    def read(cls, file: Path) -> _Known:
        # A damaged file fails in any way it likes, and can be had again.
        with suppress(Exception), np.load(file, allow_pickle=False) as kept:
            keys, values = kept["keys"], kept["values"]
            if keys.dtype == np.dtype("S32") and values.shape == (len(keys), 3):
                return cls(keys, values.astype(np.int64))
        return cls(np.zeros(0, dtype="S32"), np.zeros((0, 3), dtype=np.int64))

    def frames(self, objects: Sequence[Listed], oriented: bool) -> list[Frame | None]:
        wanted = np.array([one.key for one in objects], dtype="S32")
        if not len(self.keys):
            return [None] * len(objects)
        rows = np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)
        there = self.keys[rows] == wanted
        if oriented:
            there &= self.values[rows, 2] != _UNKNOWN
        return [
            ((height, width), orientation or 1) if found else None
            for found, (height, width, orientation) in zip(
                there.tolist(), self.values[rows].tolist(), strict=True
            )
        ]

    def with_frames(
        self, objects: Sequence[Listed], frames: Sequence[Frame], oriented: bool
    ) -> _Known:
        keys = np.array([one.key for one in objects], dtype="S32")
        values = np.array(
            [(*size_hw, orientation if oriented else _UNKNOWN) for size_hw, orientation in frames],
            dtype=np.int64,
        ).reshape(-1, 3)
        # The first of two counts: what was asked for now.
        all_keys, first = np.unique(np.concatenate([keys, self.keys]), return_index=True)
        return _Known(all_keys, np.concatenate([values, self.values])[first])

    def write(self, file: Path) -> None:
        with suppress(OSError), replacing(file, durable=False) as draft:
            np.savez(draft, keys=self.keys, values=self.values)
