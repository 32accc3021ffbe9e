"""What stands for the classes and functions that a pickle names, none of which is called."""

from __future__ import annotations

import _compat_pickle
import math
import re
import sys
from typing import Any

import torch
from torch import Tensor

from fcos_lightning.errors import shown

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

#: Likewise of torch: what tensors are made again with, and names of kinds of numbers.
_TORCH_NAMES = re.compile(
    r"torch\.(_utils\._rebuild_\w+|_tensor\._rebuild_from_type_v2|serialization\._get_layout"
    r"|(per_(tensor|channel)_|b?complex|float|bfloat|q?u?int|bits|bool)\w*|device)"
)

#: Kinds of numbers in numpy's own notation.
_DTYPES = {
    "f2": torch.float16, "f4": torch.float32, "f8": torch.float64,
    "i1": torch.int8, "i2": torch.int16, "i4": torch.int32, "i8": torch.int64,
    "u1": torch.uint8, "b1": torch.bool,
}  # fmt: skip

#: torch has no tensors of more dimensions.
MOST_DIMENSIONS = 64


class UnsafeFile(Exception):
    """A file names something that no checkpoint needs, or asks for more than it holds."""


class Inert:
    """Stands where a file wanted a class, a function, or an object that is not read.

    Attributes:
        name: the class or function, as the file names it.
        args: what it would have been called with; None where it is only named.
        state: what the object would have been filled with.
        tensor: what a pickled numpy array holds.
    """

    __slots__ = ("args", "name", "state", "tensor")

    def __init__(self, name: str, args: tuple[Any, ...] | None = None) -> None:
        self.name = name
        self.args = args
        self.state: Any = None
        self.tensor: Tensor | None = None

    def __repr__(self) -> str:
        return f"<{shown(self.name)[1:-1]}, not read>"


def tensor_of(value: object) -> Tensor | None:
    """Return a tensor for a tensor or a pickled numpy array; None for anything else."""
    if isinstance(value, Tensor):
        return value.detach()
    return value.tensor if isinstance(value, Inert) else None


def full_name(module: str, name: str) -> str:
    """Return the name of a class or function as Python 3 has it, once it is found harmless.

    Raises:
        UnsafeFile: if only a hostile file would name it.
    """
    if (module, name) in _compat_pickle.NAME_MAPPING:
        module, name = _compat_pickle.NAME_MAPPING[module, name]
    else:
        module = _compat_pickle.IMPORT_MAPPING.get(module, module)
    wanted = f"{module}.{name}"
    package = module.partition(".")[0]
    module, _, last = wanted.rpartition(".")
    if module == "builtins":
        fine = last in _HARMLESS_BUILTINS
    elif wanted == "_codecs.encode":  # bytes in old formats
        fine = True
    elif package in sys.stdlib_module_names:
        fine = module in _HARMLESS_MODULES
    elif package == "numpy":
        fine = bool(_NUMPY_FUNCTIONS.fullmatch(wanted)) or last[:1].isupper()
    elif package in ("torch", "torchvision", "fcos_lightning", "pip", "setuptools"):
        fine = bool(_TORCH_NAMES.fullmatch(wanted)) or last[:1].isupper()
    else:
        fine = True
    if not fine:
        raise UnsafeFile(f"it names {shown(wanted)[1:-1]}")
    return wanted


def array_content(value: Inert) -> bytes | bytearray | None:
    """Return the numbers of a pickled numpy array as they lie in memory; None for all else."""
    parts = _array_parts(value)
    content = None if parts is None else parts[3]
    if isinstance(content, str):  # Python 2's bytes
        return content.encode("latin1")
    return content if isinstance(content, bytes | bytearray) else None


def array_tensor(value: Inert) -> Tensor | None:
    """Return the tensor of a pickled numpy array, a copy; None for what is no array of numbers."""
    parts, content = _array_parts(value), array_content(value)
    if parts is None or content is None:
        return None
    shape, dtype, columns_first, _ = parts
    kind = _dtype_of(dtype)
    if kind is None or not isinstance(shape, tuple) or len(shape) > MOST_DIMENSIONS:
        return None
    if not all(type(size) is int and 0 <= size < 2**63 for size in shape):
        return None
    if math.prod(shape) * kind.itemsize != len(content):
        return None
    if not content:
        return torch.zeros(shape, dtype=kind)
    flat = torch.frombuffer(bytearray(content), dtype=kind)
    if columns_first:
        order = range(len(shape) - 1, -1, -1)
        return flat.reshape(shape[::-1]).permute(*order).contiguous()
    return flat.reshape(shape)


def _array_parts(value: Inert) -> tuple[Any, Any, bool, Any] | None:
    """Shape, dtype, whether columns come first, and content: from the two ways to pickle arrays."""
    state, args = value.state, value.args
    if value.name.endswith("multiarray._reconstruct"):
        if isinstance(state, tuple) and len(state) == 5:
            _, shape, dtype, columns_first, content = state
            return shape, dtype, bool(columns_first), content
    elif value.name.endswith("numeric._frombuffer") and args is not None and len(args) == 4:
        content, dtype, shape, order = args
        return shape, dtype, order == "F", content
    return None


def _dtype_of(dtype: object) -> torch.dtype | None:
    if not isinstance(dtype, Inert) or not dtype.args or not isinstance(dtype.args[0], str):
        return None
    if isinstance(dtype.state, tuple) and ">" in dtype.state[:2]:  # most significant byte first
        return None
    return _DTYPES.get(dtype.args[0])
