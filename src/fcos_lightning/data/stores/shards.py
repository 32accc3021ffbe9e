"""Images in tar shards, each found by its place in its shard."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fcos_lightning.data.stores.packed_index import Rows, Shard, digest_of
from fcos_lightning.data.stores.places import Place
from fcos_lightning.data.stores.shard_cache import ShardCache
from fcos_lightning.errors import UserError


@dataclass(frozen=True, eq=False)
class ShardStore:
    """An ``ImageStore`` of members of tar files, here or on object storage.

    Attributes:
        place: where the shards are.
        shards: the files.
        rows: where each image is.
        file_names: ``[N]`` as the images were called before, for messages.
        cache: keeps shards that come from afar; None: each image is asked for by itself, or the
            shards are here.
    """

    place: Place
    shards: tuple[Shard, ...]
    rows: Rows
    file_names: NDArray[np.str_]
    cache: ShardCache | None = None

    @property
    def is_packed(self) -> bool:
        """They are."""
        return True

    @property
    def place_name(self) -> str:
        """The folder or address."""
        return self.place.text

    def read(self, image: int) -> bytes:
        """Return the bytes of an image's file, see ``ImageStore``."""
        shard = self.shards[self.rows.shard[image]]
        start = int(self.rows.offset[image])
        stop = start + int(self.rows.length[image])
        content = self._part(shard, start, stop)
        if not self._is(content, image):
            if self.cache is not None:  # a file of the cache that something has damaged
                self.cache.forget(shard)
                content = self._part(shard, start, stop)
            if not self._is(content, image):
                raise UserError(
                    f"image {self.name(image)} is damaged in its shard: copy or pack the data again"
                )
        return content

    def name(self, image: int) -> str:
        """Return the shard of an image and its name there was before."""
        shard = self.shards[self.rows.shard[image]]
        return f"{self.place.text}/{shard.name}: {self.file_names[image]}"

    def kept(self, kept: NDArray[np.bool_]) -> ShardStore:
        """Return a store of some of the images, see ``ImageStore``."""
        return replace(self, rows=self.rows.kept(kept), file_names=self.file_names[kept])

    def bytes_afar(self) -> int:
        """Return the size of all images, see ``ImageStore``."""
        return int(self.rows.length.sum()) if self.place.remote else 0

    def duplicates(self) -> list[list[int]]:
        """Return groups of images whose files are the same byte for byte."""
        same: dict[tuple[int, bytes], list[int]] = defaultdict(list)
        for image, (length, digest) in enumerate(
            zip(self.rows.length.tolist(), self.rows.digest, strict=True)
        ):
            same[length, digest.tobytes()].append(image)
        return [images for images in same.values() if len(images) > 1]

    def _part(self, shard: Shard, start: int, stop: int) -> bytes:
        if self.cache is None:
            return self.place.part(shard.name, start, stop)
        return self.cache.part(shard, start, stop)

    def _is(self, content: bytes, image: int) -> bool:
        return bool(digest_of(content) == self.rows.digest[image].tobytes())
