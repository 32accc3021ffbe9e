"""Files of weights from anywhere, read without running anything that they may hold.

A pickle names what its reader shall call. Here a name outside torch's own list of harmless ones
becomes an ``Inert``, which takes any argument and does nothing; a name of the standard library
that no checkpoint needs, as ``os.system``, ends the reading.
"""

from __future__ import annotations

import _compat_pickle
import math
import pickle
import pickletools
import re
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor
from torch._weights_only_unpickler import _get_allowed_globals

from fcos_lightning.errors import UserError

#: First pickle of files that torch wrote before its version 1.6 (torch/serialization.py).
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C

#: Of the standard library, these are met in honest checkpoints; nothing of them is called either.
_HARMLESS_MODULES = {
    "argparse", "collections", "copyreg", "datetime", "decimal", "enum", "fractions",
    "functools", "pathlib", "pathlib._local", "types", "uuid",  # _local: Python 3.13's paths
}  # fmt: skip
_HARMLESS_BUILTINS = {
    "bool", "bytearray", "bytes", "complex", "dict", "float", "frozenset", "getattr", "int", "list",
    "object", "range", "set", "slice", "str", "tuple",
}  # fmt: skip

#: Functions that numpy's arrays, scalars and random states are pickled with.
_NUMPY_FUNCTIONS = re.compile(
    r"numpy\.(ndarray|dtype|(_?core\.multiarray|_?core\.numeric)\.\w+|random\.\w+(\.\w+)?|\w+\d+)"
)

_DICT_LIKE = re.compile(r"(Dict|dict|CfgNode|ConfigNode|Counter)$")

#: Kinds of numbers in numpy's own notation.
_DTYPES = {
    "f2": torch.float16, "f4": torch.float32, "f8": torch.float64,
    "i1": torch.int8, "i2": torch.int16, "i4": torch.int32, "i8": torch.int64,
    "u1": torch.uint8, "b1": torch.bool,
}  # fmt: skip


class Inert:
    """Stands where a file wanted an object of a class that is not read.

    Attributes:
        name: the class or function, as the file names it.
        args: what it would have been called with.
        state: what the object would have been filled with.
    """

    name = ""
    args: tuple[Any, ...]
    state: Any

    def __new__(cls, *args: Any, **_: Any) -> Inert:  # noqa: ANN401  # whatever a file holds
        """Keep the arguments, call nothing."""
        made = super().__new__(cls)
        made.args, made.state = args, None
        return made

    def __init__(self, *args: Any, **_: Any) -> None:  # noqa: ANN401
        pass

    def __setstate__(self, state: Any) -> None:  # noqa: ANN401
        self.state = state

    def __setitem__(self, key: object, value: object) -> None: ...

    def append(self, item: object) -> None:
        """Drop an item of a list that is not read."""

    def extend(self, items: object) -> None:
        """Drop items of a list that is not read."""

    def __repr__(self) -> str:
        return f"<{self.name}, not read>"


class _InertDict(Inert):
    """For dictionaries with a class of their own: torch fills none but plain ones."""

    def __new__(cls, *_: Any, **__: Any) -> OrderedDict[Any, Any]:  # type: ignore[misc]  # noqa: ANN401
        """Return a plain dictionary, whatever class was asked for."""
        return OrderedDict()


class _InertList(Inert):
    """Likewise for lists with a class of their own, as ``collections.deque``."""

    def __new__(cls, *_: Any, **__: Any) -> list[Any]:  # type: ignore[misc]  # noqa: ANN401
        """Return a plain list, whatever class was asked for."""
        return []


class UnsafeFile(Exception):
    """A file names something that no checkpoint needs."""


def read_file(path: Path, kind: str) -> Any:  # noqa: ANN401  # data of any form
    """Return what a file of weights holds: torch's of any age, ``.safetensors``, plain pickles.

    Numpy arrays stay ``Inert`` until ``tensor_of`` is asked; see there.

    Args:
        path: of the file.
        kind: what the file should be, for messages.

    Raises:
        UserError: if there is no such file, or it cannot be read without running what it holds.
    """
    if not path.is_file():
        raise UserError(f"{kind} {path}: no such file")
    try:
        return _read(path)
    except Exception as error:  # torch raises many kinds, pickle's own among them
        reason = str(error) if isinstance(error, UnsafeFile) else type(error).__name__
        raise UserError(
            f"{kind} {path}: not a readable file of plain data; nothing in it was run ({reason})"
        ) from error


def tensor_of(value: object) -> Tensor | None:
    """Return a tensor for a tensor or a pickled numpy array; None for anything else."""
    if isinstance(value, Tensor):
        return value.detach()
    if not isinstance(value, Inert):
        return None
    # The two ways of numpy.ndarray.__reduce__ and __reduce_ex__(5).
    parts: object = None
    if value.name.endswith("multiarray._reconstruct"):
        parts = value.state  # version, shape, dtype, whether columns come first, bytes
    elif value.name.endswith("numeric._frombuffer") and len(value.args) == 4:
        content, dtype, shape, order = value.args
        parts = 1, shape, dtype, order == "F", content
    if not isinstance(parts, tuple) or len(parts) != 5:
        return None
    _, shape, dtype, columns_first, content = parts
    if isinstance(content, str):  # Python 2's bytes
        content = content.encode("latin1")
    elif isinstance(content, Inert) and content.name == "builtins.bytes":
        content = b""  # as no bytes at all are written in old formats
    kind = _dtype_of(dtype)
    if kind is None or not isinstance(content, bytes | bytearray):
        return None
    sizes = [int(size) for size in shape]
    if math.prod(sizes) * kind.itemsize != len(content):
        return None
    if not content:
        return torch.zeros(sizes, dtype=kind)
    flat = torch.frombuffer(bytearray(content), dtype=kind)
    if columns_first:
        return flat.reshape(sizes[::-1]).permute(*range(len(sizes) - 1, -1, -1)).contiguous()
    return flat.reshape(sizes)


def _dtype_of(dtype: object) -> torch.dtype | None:
    if not isinstance(dtype, Inert) or not dtype.args:
        return None
    if isinstance(dtype.state, tuple) and ">" in dtype.state[:2]:  # most significant byte first
        return None
    return _DTYPES.get(str(dtype.args[0]))


def _read(path: Path) -> Any:  # noqa: ANN401
    with path.open("rb") as file:
        start = file.read(64)
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return dict(load_file(path))
    is_zip = zipfile.is_zipfile(path) and start[:2] == b"PK"
    if is_zip or _first_pickle(start) == _LEGACY_MAGIC:
        names = sorted(_unknown_names(path, is_zip))
        inert: list[Any] = [(_stand_in(name), name) for name in names]
        with torch.serialization.safe_globals(inert):
            return torch.load(path, map_location="cpu", weights_only=True)
    with path.open("rb") as file:
        return _PlainUnpickler(file, encoding="latin1").load()


def _first_pickle(start: bytes) -> object:
    """The number that a file begins with, if it begins with a pickled number."""
    try:
        operations = [(op.name, arg) for op, arg, _ in pickletools.genops(start)]
    except ValueError:
        return None
    return next((arg for name, arg in operations if name == "LONG1"), None)


def _unknown_names(path: Path, is_zip: bool) -> set[str]:
    """Names in a file of torch's that torch does not know to be harmless.

    Raises:
        UnsafeFile: if one of them is not to be had in any case.
    """
    names = set(_names(path, is_zip)) - set(_get_allowed_globals())
    for name in names:
        _check(name)
    return names


def _names(path: Path, is_zip: bool) -> Iterator[str]:
    if is_zip:
        with zipfile.ZipFile(path) as archive:
            for entry in archive.namelist():
                if entry.endswith("data.pkl"):
                    with archive.open(entry) as file:
                        yield from _names_in(file)
        return
    with path.open("rb") as file:
        for _ in range(5):  # magic number, version, machine, content, keys of the storages
            yield from _names_in(file)


def _names_in(file: IO[bytes]) -> Iterator[str]:
    for operation, argument, _ in pickletools.genops(file):
        if operation.name in ("GLOBAL", "INST"):
            module, name = str(argument).split(" ", 1)
            yield ".".join(_in_python_3(module, name))


def _in_python_3(module: str, name: str) -> tuple[str, str]:
    if (module, name) in _compat_pickle.NAME_MAPPING:
        return _compat_pickle.NAME_MAPPING[module, name]
    return _compat_pickle.IMPORT_MAPPING.get(module, module), name


def _check(full_name: str) -> None:
    """Refuse what only a hostile file would name. The others become inert.

    Raises:
        UnsafeFile: naming it.
    """
    module, _, name = full_name.rpartition(".")
    package = module.partition(".")[0]
    if module == "builtins":
        fine = name in _HARMLESS_BUILTINS
    elif package in sys.stdlib_module_names:
        fine = module in _HARMLESS_MODULES
    elif package == "numpy":
        fine = bool(_NUMPY_FUNCTIONS.fullmatch(full_name)) or name[:1].isupper()
    elif package in ("torch", "torchvision", "fcos_lightning", "pip", "setuptools"):
        fine = name[:1].isupper()
    else:
        fine = True
    if not fine:
        raise UnsafeFile(f"it names {full_name}")


def _stand_in(full_name: str) -> type[Inert]:
    base: type[Inert] = Inert
    if _DICT_LIKE.search(full_name):
        base = _InertDict
    elif full_name.endswith(("List", "list", "deque")):
        base = _InertList
    return type("Inert", (base,), {"name": full_name})


def _encode(text: str, encoding: str = "latin1") -> bytes:
    """What Python 3 writes for bytes in old pickle formats: ``_codecs.encode``."""
    return text.encode("latin1" if encoding != "utf-8" else "utf-8")


class _PlainUnpickler(pickle.Unpickler):
    """For pickles that are not torch's: dictionaries of numpy arrays, as Caffe2's models are."""

    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        """Return a stand-in for everything a file names, but for the harmless few.

        Raises:
            UnsafeFile: if only a hostile file would name it.
        """
        full_name = ".".join(_in_python_3(module, name))
        if full_name == "collections.OrderedDict":
            return OrderedDict
        if full_name == "_codecs.encode":
            return _encode
        _check(full_name)
        return _stand_in(full_name)

    def persistent_load(self, pid: Any) -> Any:  # noqa: ANN401
        """Refuse storages outside the file.

        Raises:
            UnsafeFile: always.
        """
        raise UnsafeFile("it refers to data outside itself")
