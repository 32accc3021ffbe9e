"""Images that are objects of their own on object storage."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fcos_lightning.data.stores.loose import digest_of
from fcos_lightning.data.stores.places import RemotePlace
from fcos_lightning.data.stores.trees.kept_images import KeptImages
from fcos_lightning.data.stores.trees.listing import Listed
from fcos_lightning.data.stores.trees.objects import read_object

#: Objects that come at the same time: one alone waits for its answers most of the time.
THREADS = 32
#: So many images are read to see whether versions are digests of contents.
_PROBES = 3


@dataclass(frozen=True, eq=False)
class RemoteImages:
    """An ``ImageStore`` of objects below an address.

    Attributes:
        place: the address.
        names: ``[N]`` below it.
        sizes: ``[N]`` int64, bytes.
        versions: ``[N]``, see ``Listed``.
        cache: keeps images that were read; None: each is asked for whenever it is needed.
    """

    place: RemotePlace
    names: NDArray[np.str_]
    sizes: NDArray[np.int64]
    versions: NDArray[np.bytes_]
    cache: KeptImages | None = None

    @property
    def is_packed(self) -> bool:
        """They are not."""
        return False

    @property
    def place_name(self) -> str:
        """The address."""
        return self.place.text

    def listed(self, image: int) -> Listed:
        """Return the object of an image."""
        version = self.versions[image].decode()
        return Listed(str(self.names[image]), int(self.sizes[image]), version)

    def read(self, image: int) -> bytes:
        """Return the bytes of an image's file, see ``ImageStore``."""
        one = self.listed(image)
        return read_object(self.place, one) if self.cache is None else self.cache.read(one)

    def name(self, image: int) -> str:
        """Return the address of an image."""
        return f"{self.place.text}/{self.names[image]}"

    def kept(self, kept: NDArray[np.bool_]) -> RemoteImages:
        """Return a store of some of the images, see ``ImageStore``."""
        return replace(
            self, names=self.names[kept], sizes=self.sizes[kept], versions=self.versions[kept]
        )

    def bytes_afar(self) -> int:
        """Return the size of all images, see ``ImageStore``."""
        return int(self.sizes.sum())

    def duplicates(self) -> list[list[int]]:
        """Return groups of images with the same bytes.

        Where versions depend on the content alone, nothing is read for it but a few images that
        show it; else all those of one size.
        """
        by_size: dict[int, list[int]] = defaultdict(list)
        for image, size in enumerate(self.sizes.tolist()):
            by_size[size].append(image)
        alike = [image for images in by_size.values() if len(images) > 1 for image in images]
        if self._say_contents(alike):
            digests: Iterable[bytes] = self.versions[alike].tolist()
        else:
            with ThreadPoolExecutor(THREADS) as pool:
                digests = list(pool.map(lambda image: digest_of(self.read(image)), alike))
        same: dict[tuple[int, bytes], list[int]] = defaultdict(list)
        for image, digest in zip(alike, digests, strict=True):
            same[int(self.sizes[image]), digest].append(image)
        return [images for images in same.values() if len(images) > 1]

    def _say_contents(self, images: list[int]) -> bool:
        """Tell whether versions of some images are the same where their contents are."""
        import hashlib

        kinds = {one.split(b":", 1)[0] for one in set(self.versions[images].tolist())}
        if kinds <= {b"same"}:
            return True
        probes = images[:: max(1, len(images) // _PROBES)][:_PROBES]
        return kinds <= {b"md5", b"same"} and all(
            hashlib.md5(self.read(one), usedforsecurity=False).hexdigest()
            == self.listed(one).version.removeprefix("md5:")
            for one in probes
            if self.versions[one].startswith(b"md5:")
        )
