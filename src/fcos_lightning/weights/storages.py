"""Where the numbers of torch's files lie, of the present form and the old, and their tensors."""

from __future__ import annotations

import io
import math
import struct
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO, Any

import torch
from torch import Tensor, UntypedStorage

from fcos_lightning.errors import shown
from fcos_lightning.weights.allowance import Allowance, Stretch
from fcos_lightning.weights.stand_ins import MOST_DIMENSIONS, UnsafeFile

#: The table of contents of an archive; torch's has some 100 bytes for each tensor.
_MOST_CONTENTS = 2**24

#: torch's names of storages -> their kind of numbers.
STORAGES: Mapping[str, torch.dtype] = {
    f"torch.{place}{name}Storage": dtype
    for place in ("", "cuda.")
    for name, dtype in {
        "BFloat16": torch.bfloat16, "Bool": torch.bool, "Byte": torch.uint8, "Char": torch.int8,
        "ComplexDouble": torch.complex128, "ComplexFloat": torch.complex64,
        "Double": torch.float64, "Float": torch.float32, "Half": torch.float16,
        "Int": torch.int32, "Long": torch.int64, "Short": torch.int16,
    }.items()
} | {"torch.storage.UntypedStorage": torch.uint8}  # fmt: skip


@dataclass(frozen=True)
class Storage:
    """Numbers of a kind, before a tensor gives them a shape."""

    content: UntypedStorage
    dtype: torch.dtype

    def tensor(
        self,
        allowance: Allowance,
        offset: object,
        size: object,
        stride: object,
        dtype: torch.dtype | None = None,
    ) -> Tensor:
        """Return a tensor of these numbers.

        Args:
            allowance: of the file.
            offset: of the first number.
            size: of each dimension.
            stride: of each dimension, in numbers.
            dtype: None: the storage's own.

        Raises:
            UnsafeFile: if not all its numbers lie in the storage.
        """
        dtype = dtype or self.dtype
        sizes, strides, (start,) = _counts(size), _counts(stride), _counts((offset,))
        if len(sizes) != len(strides):
            raise UnsafeFile("a tensor has sizes and strides of different number")
        held = self.content.nbytes() // dtype.itemsize
        last = start + sum((n - 1) * step for n, step in zip(sizes, strides, strict=True))
        shown_numbers = math.prod(sizes)
        if shown_numbers and last >= held:
            raise UnsafeFile(f"a tensor of size {shown(sizes)} lies outside its {held} numbers")
        allowance.take_copy(shown_numbers * dtype.itemsize)
        if not shown_numbers:
            return torch.empty(sizes, dtype=dtype)
        return torch.empty(0, dtype=dtype).set_(self.content, start, sizes, strides)


def _counts(values: object) -> tuple[int, ...]:
    if isinstance(values, tuple | list) and len(values) <= MOST_DIMENSIONS:
        counts = [value for value in values if type(value) is int and 0 <= value < 2**62]
        if len(counts) == len(values):
            return tuple(counts)
    raise UnsafeFile(f"a tensor has the sizes {shown(values)}")


class LegacyStorages:
    """Storages of a file in the form of before torch 1.6: they follow the pickles in a row."""

    def __init__(self, allowance: Allowance) -> None:
        self._allowance = allowance
        self._found: dict[str, UntypedStorage] = {}

    def __call__(self, pid: object) -> Storage | None:
        """Return what a persistent id names; it is filled later. None for code, which is not read.

        Raises:
            UnsafeFile: if the file cannot hold it.
        """
        if not isinstance(pid, tuple) or len(pid) < 2:
            raise UnsafeFile("it refers to data outside itself")
        if pid[0] == "module":
            return None
        dtype, key, numel, view = _described(pid)
        if key not in self._found:
            size = numel * dtype.itemsize
            self._allowance.take_storage(size)
            self._found[key] = _storage(size)
        content = self._found[key]
        if view is not None:
            _, start, length = view
            begin, end = (n * dtype.itemsize for n in _counts((start, start + length)))
            if not 0 <= begin <= end <= content.nbytes():
                raise UnsafeFile("a tensor lies outside its storage")
            content = content[begin:end]
        return Storage(content, dtype)

    def fill(self, keys: Any, stretch: Stretch) -> None:  # noqa: ANN401  # as the file has it
        """Read all storages, in the order of ``keys``.

        Raises:
            UnsafeFile: if one is missing or of another size than declared.
        """
        named = isinstance(keys, list) and all(isinstance(key, str) for key in keys)
        if not named or {*keys} != {*self._found}:
            raise UnsafeFile("its list of storages is not that of its tensors")
        for key in keys:
            stretch.read(8)  # how many numbers, which its tensors said already
            stretch.read_into(self._found[key])


class ZippedStorages:
    """Storages of a file in torch's present form: a zip archive with a record for each.

    Args:
        file: the archive.
        length: of the file in bytes.
        allowance: of the file.

    Raises:
        UnsafeFile: if it is a program (TorchScript), or holds no pickle.
    """

    def __init__(self, file: IO[bytes], length: int, allowance: Allowance) -> None:
        self._file, self._length, self._allowance = file, length, allowance
        with zipfile.ZipFile(_WithLimit(file)) as archive:
            records = archive.infolist()
        # torch takes the folder of the first entry.
        folder = records[0].filename.partition("/")[0] if records else ""
        self._records = {
            record.filename[len(folder) + 1 :]: record
            for record in records
            if record.filename.startswith(f"{folder}/")
        }
        if "constants.pkl" in self._records:
            raise UnsafeFile("it is a TorchScript program; save a state_dict")
        order = self._small_record("byteorder", sys.byteorder)
        if order not in ("little", "big"):
            raise UnsafeFile("its order of bytes is unknown")
        self._swapped = order != sys.byteorder
        self._found: dict[str, UntypedStorage] = {}

    def pickle(self) -> Stretch:
        """Return the record that says what the file holds."""
        record = self._record("data.pkl")
        # On its own, as the reading of storages moves the file's position.
        return Stretch(io.BytesIO(record.read(size := record.left)), size)

    def __call__(self, pid: object) -> Storage:
        """Return the storage that a persistent id names.

        Raises:
            UnsafeFile: if the file does not hold it.
        """
        dtype, key, numel, _ = _described(pid)
        size = numel * dtype.itemsize
        if key not in self._found:
            self._allowance.take_storage(size)
            content = _storage(size)
            if size:
                self._record(f"data/{key}").read_into(content)
            if self._swapped and dtype.itemsize > 1:
                content.byteswap(dtype)  # type: ignore[no-untyped-call]  # torch's
            self._found[key] = content
        return Storage(self._found[key], dtype)

    def _small_record(self, name: str, default: str) -> str:
        if name not in self._records:
            return default
        record = self._record(name)
        return record.read(min(record.left, 16)).decode("latin1")

    def _record(self, name: str) -> Stretch:
        record = self._records.get(name)
        if record is None:
            raise UnsafeFile(f"it has no record {shown(name)}")
        if record.compress_type != zipfile.ZIP_STORED or record.flag_bits & 1:
            raise UnsafeFile(f"its record {shown(name)} is compressed, which torch never does")
        # Read here rather than by zipfile, whose checksums torch need not write.
        self._file.seek(record.header_offset)
        header = self._file.read(30)
        if len(header) < 30 or header[:4] != b"PK\x03\x04":
            raise UnsafeFile(f"its record {shown(name)} is not where it should be")
        start = record.header_offset + 30 + sum(struct.unpack("<HH", header[26:]))
        if start + record.file_size > self._length:
            raise UnsafeFile(f"its record {shown(name)} is larger than the file")
        self._file.seek(start)
        return Stretch(self._file, record.file_size)


class _WithLimit(io.RawIOBase):
    """What zipfile reads an archive's table of contents through, at once and as one piece."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def read(self, size: int = -1) -> bytes:
        if size > _MOST_CONTENTS:
            raise UnsafeFile(f"its table of contents has {size} bytes")
        return self._file.read(_MOST_CONTENTS if size < 0 else size)


def _storage(size: int) -> UntypedStorage:
    return UntypedStorage(size)  # type: ignore[no-untyped-call]  # torch's


def _described(pid: object) -> tuple[torch.dtype, str, int, Any]:
    """Kind of numbers, key, number of numbers and view of a storage, as torch names it."""
    if not isinstance(pid, tuple) or len(pid) not in (5, 6) or pid[0] != "storage":
        raise UnsafeFile("it refers to data outside itself")
    dtype = STORAGES.get(getattr(pid[1], "name", ""))
    if dtype is None:
        raise UnsafeFile(f"it has numbers of an unknown kind, {shown(pid[1])}")
    key, (numel,) = pid[2], _counts((pid[4],))
    if not isinstance(key, str):
        raise UnsafeFile("it refers to data outside itself")
    view = pid[5] if len(pid) == 6 else None
    if view is not None and not (isinstance(view, tuple) and len(view) == 3):
        raise UnsafeFile("it refers to data outside itself")
    return dtype, key, numel, view
