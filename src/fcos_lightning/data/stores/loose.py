"""Images that are files of their own."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fcos_lightning.errors import UserError
from fcos_lightning.storage.small_files import is_pipe_or_device

_BLOCK = 1 << 20


@dataclass(frozen=True, eq=False)
class LooseFiles:
    """An ``ImageStore`` of files below a folder.

    Attributes:
        folder: resolved.
        file_names: ``[N]``, relative to it.
    """

    folder: Path
    file_names: NDArray[np.str_]

    @property
    def is_packed(self) -> bool:
        """They are not."""
        return False

    @property
    def place_name(self) -> str:
        """The folder."""
        return str(self.folder)

    def path(self, image: int) -> Path:
        """Return the file of an image."""
        return self.folder / str(self.file_names[image])

    def read(self, image: int) -> bytes:
        """Return the bytes of an image's file, see ``ImageStore``."""
        path = self.path(image)
        if is_pipe_or_device(path):
            raise UserError(f"image {path} is no file, but a pipe or a device")
        try:
            return path.read_bytes()
        except OSError as error:
            raise UserError(f"image {path} cannot be read: {error.strerror}") from None

    def name(self, image: int) -> str:
        """Return the path of an image."""
        return str(self.path(image))

    def kept(self, kept: NDArray[np.bool_]) -> LooseFiles:
        """Return a store of some of the images, see ``ImageStore``."""
        return LooseFiles(self.folder, self.file_names[kept])

    def bytes_afar(self) -> int:
        """Return that there are none, see ``ImageStore``."""
        return 0

    def duplicates(self) -> list[list[int]]:
        """Return groups of images with the same bytes. Only those of one size are read at all."""
        sizes: dict[int, list[int]] = defaultdict(list)
        paths = [self.path(image) for image in range(len(self.file_names))]
        for image, path in enumerate(paths):
            try:
                sizes[path.stat().st_size].append(image)
            except OSError:  # whoever reads it will say so
                continue
        same: dict[bytes, list[int]] = defaultdict(list)
        for images in sizes.values():
            if len(images) > 1:
                for image in images:
                    if (digest := content_digest(paths[image])) is not None:
                        same[digest].append(image)
        return [images for images in same.values() if len(images) > 1]


def digest_of(content: bytes) -> bytes:
    """Return 16 bytes that stand for a content, those of ``content_digest``."""
    return hashlib.blake2b(content, digest_size=16).digest()


def content_digest(path: Path) -> bytes | None:
    """Return 16 bytes that stand for a file's content; None if it cannot be read."""
    found = hashlib.blake2b(digest_size=16)
    if is_pipe_or_device(path):
        return None
    try:
        with path.open("rb") as opened:
            while block := opened.read(_BLOCK):
                found.update(block)
    except OSError:
        return None
    return found.digest()
