"""What a split asks of the place where its images are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fcos_lightning.errors import UserError


class StoreError(UserError):
    """A place cannot be reached or read at all, whichever image is asked for."""


class ReadsAhead(Protocol):
    """Brings near what is going to be asked for."""

    def begin(self, batches: Sequence[NDArray[np.int64]] | NDArray[np.int64]) -> int:
        """Take up the images of coming batches, in place of any before; return their number."""

    def reached(self, batch: int) -> None:
        """Take note that a batch is being asked for, and with it all before."""

    def end(self, number: int) -> None:
        """Bring nothing more of what ``begin`` has given this number."""


class ImageStore(Protocol):
    """The image files of a split, by their positions."""

    @property
    def place_name(self) -> str:
        """The folder or address where all of them are."""

    @property
    def is_packed(self) -> bool:
        """Whether they are in shards, and were all looked at when they were packed."""

    def read(self, image: int) -> bytes:
        """Return the bytes of an image's file.

        Raises:
            UserError: if they cannot be read.
            StoreError: if nothing can be read of the place where they are.
        """

    def name(self, image: int) -> str:
        """Return what messages call an image."""

    def kept(self, kept: NDArray[np.bool_]) -> ImageStore:
        """Return a store of the images that a mask ``[N]`` names, in their order."""

    def duplicates(self) -> list[list[int]]:
        """Return groups of images whose files are the same byte for byte."""

    def bytes_afar(self) -> int:
        """Return how many bytes have to come from object storage for all images to be read."""
