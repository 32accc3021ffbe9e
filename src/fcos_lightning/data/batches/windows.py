"""How far images in shards are shuffled, so that those of a few shards at a time are needed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fcos_lightning.data.splits import DataSplit
from fcos_lightning.data.stores.ahead import SHARE
from fcos_lightning.data.stores.shards import ShardStore
from fcos_lightning.errors import UserError
from fcos_lightning.storage.bars import readable_size


@dataclass(frozen=True, eq=False)
class Windows:
    """How far images in shards are shuffled.

    Attributes:
        shard: ``[N]`` the shard of each image.
        shards: how many of them make a window.
    """

    shard: NDArray[np.int32]
    shards: int

    @property
    def is_whole(self) -> bool:
        """Whether one window holds all images, so that shards do not matter."""
        return not len(self.shard) or self.shards > int(self.shard.max())


def windows_of(split: DataSplit, shards: int | None) -> Windows | None:
    """Return how images of a split are shuffled; None where they are in no shards.

    Args:
        split: to learn from.
        shards: of a window; None: all of them, or of those that come from afar and have no room in
            the cache together, half as many as have.

    Raises:
        UserError: if the images are in no shards, or a window has no room.
    """
    store = split.elsewhere
    if not isinstance(store, ShardStore):
        if shards is not None:
            raise UserError(
                f"data.shuffle_window={shards}: the images of {split.name} are in no shards; leave "
                "it out"
            )
        return None
    number = len(store.shards)
    if store.cache is not None:
        sizes = np.sort([shard.size for shard in store.shards])[::-1]
        room = store.cache.most_bytes
        if shards is None and sizes.sum() > SHARE * room:
            shards = max(1, int(SHARE * room / 2 / sizes[0]))
        needed = int(sizes[:shards].sum())
        if needed > room:
            raise UserError(
                f"data.shuffle_window={shards} shards of {split.name} have "
                f"{readable_size(needed)}, and data.cache_gb={room / 1e9:g}: give a smaller window "
                "or a larger cache"
            )
    return Windows(store.rows.shard, min(shards or number, number))
