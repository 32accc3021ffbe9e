"""A data set as it lies on object storage, in files of its own."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from fcos_lightning.data.splits import DataSplit
from fcos_lightning.data.stores.places import RemotePlace
from fcos_lightning.data.stores.trees.kept_images import KeptImages
from fcos_lightning.data.stores.trees.listing import listing_of
from fcos_lightning.data.stores.trees.mirror import Chooser, Mirror, mirror_of
from fcos_lightning.data.stores.trees.objects import NotAsListed
from fcos_lightning.data.stores.trees.remote_headers import RemoteHeaders
from fcos_lightning.data.stores.trees.remote_images import RemoteImages
from fcos_lightning.errors import UserError, calling


@dataclass(frozen=True, eq=False)
class Tree:
    """A folder at an address: readers look at its mirror, and images come from the address.

    Attributes:
        mirror: of its names.
        cache: of its images; None: they are not kept.
    """

    mirror: Mirror
    cache: KeptImages | None

    @property
    def root(self) -> Path:
        """The folder that readers look at."""
        return self.mirror.root

    @property
    def headers(self) -> RemoteHeaders:
        """Reads sizes of images."""
        return RemoteHeaders(self.mirror, self.cache)

    def over(self, split: DataSplit) -> DataSplit:
        """Return a split that was read of the mirror, with its images where they really are."""
        begin = self.mirror.below(split.image_dir)
        listing = self.mirror.listing()
        names = [f"{begin}{name}" for name in split.truth.file_names.tolist()]
        rows = np.array([listing.rows[name] for name in names], dtype=np.int64)
        images = RemoteImages(
            self.mirror.place,
            np.array(names, dtype=np.str_),
            listing.sizes[rows],
            listing.versions[rows],
            self.cache,
        )
        remarks = tuple(self.told(remark) for remark in split.remarks)
        return replace(split, remarks=remarks, elsewhere=images)

    def told(self, text: str) -> str:
        """Return a text that names the address where it named the mirror."""
        return text.replace(str(self.root), self.mirror.place.text)

    def telling(self) -> AbstractContextManager[None]:
        """Let errors name the address where they name the mirror."""
        return calling(str(self.root), self.mirror.place.text)


def tree_at(place: RemotePlace, chosen: Chooser, cache_bytes: int) -> Tree:
    """Return the folder at an address, listed and with its annotations at hand.

    Args:
        place: the address.
        chosen: which files of a folder readers may open.
        cache_bytes: of images, and of all else from object storage, that are kept.

    Raises:
        UserError: if there is nothing, or it cannot be had.
    """
    for again in (True, False):
        listing = listing_of(place)
        if not len(listing):
            raise UserError(
                f"data.root={place.text}: there is no shards.json, nor anything else: see that the "
                "address is right"
            )
        try:
            mirror = mirror_of(place, listing, chosen)
        except NotAsListed:
            if not again:
                raise
        else:
            cache = KeptImages.of(place, cache_bytes) if cache_bytes > 0 else None
            return Tree(mirror, cache)
    raise AssertionError("unreachable")
