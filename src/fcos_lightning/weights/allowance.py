"""How much a file may make of itself: what is declared is held against its own length first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import IO

import torch
from torch import UntypedStorage

from fcos_lightning.weights.stand_ins import UnsafeFile

#: A tensor may show the same numbers several times (``expand``), and tensors may share numbers.
#: Whoever copies them needs room for each; so all tensors together may show this many times the
#: file's length, and in any case this many bytes.
_TENSORS_PER_LENGTH = 4
_TENSORS_AT_LEAST = 2**28


class Stretch:
    """A stretch of a file, of which never more is read, or made room for, than it has.

    Args:
        file: stands at its beginning.
        length: in bytes.
    """

    def __init__(self, file: IO[bytes], length: int) -> None:
        self._file = file
        self.left = length

    def read(self, size: int) -> bytes:
        """Return the next ``size`` bytes.

        Raises:
            UnsafeFile: if there are not as many.
        """
        if not 0 <= size <= self.left:
            raise UnsafeFile(f"it says {size} bytes follow where {self.left} are left")
        self.left -= size
        return self._file.read(size)

    def line(self) -> bytes:
        """Return the next line without its end.

        Raises:
            UnsafeFile: if it has no end.
        """
        line = self._file.readline(self.left)
        self.left -= len(line)
        if not line.endswith(b"\n"):
            raise UnsafeFile("it ends within a line")
        return line[:-1]

    def read_into(self, storage: UntypedStorage) -> None:
        """Fill a storage with the next bytes.

        Raises:
            UnsafeFile: if there are not as many.
        """
        size = storage.nbytes()
        if size > self.left:
            raise UnsafeFile(f"it says {size} bytes follow where {self.left} are left")
        self.left -= size
        room = torch.empty(0, dtype=torch.uint8).set_(storage)
        if size and self._file.readinto(room.numpy()) != size:  # type: ignore[attr-defined]
            raise UnsafeFile("it ends too early")


@dataclass
class Allowance:
    """How much a file may still make of itself.

    Attributes:
        storages: bytes of storages: each byte of the file can be one of them once.
        copies: bytes that tensors show, or that are copied on the way.
    """

    storages: int
    copies: int

    @classmethod
    def of(cls, length: int) -> Allowance:
        """Return what a file of ``length`` bytes may make."""
        return cls(length, _TENSORS_PER_LENGTH * length + _TENSORS_AT_LEAST)

    def take_storage(self, size: int) -> None:
        """Count a storage.

        Raises:
            UnsafeFile: if the file holds less than all it declares.
        """
        self.storages -= size
        if size < 0 or self.storages < 0:
            raise UnsafeFile(f"it declares tensors of {size} bytes, more than it holds")

    def take_copy(self, size: int) -> None:
        """Count what a tensor shows.

        Raises:
            UnsafeFile: if that is out of proportion to the file.
        """
        self.copies -= size
        if self.copies < 0:
            raise UnsafeFile("its tensors show far more numbers than it holds")
