"""What becomes of the names in a file of weights: a few known ones plain data and tensors."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

import torch
from torch import Tensor

from fcos_lightning.errors import shown
from fcos_lightning.weights.allowance import Allowance
from fcos_lightning.weights.pickle_machine import LONGEST_NAME
from fcos_lightning.weights.stand_ins import (
    Inert,
    UnsafeFile,
    array_content,
    array_tensor,
    full_name,
    tensor_of,
)
from fcos_lightning.weights.storages import Storage

#: What an item of a container takes, with room for the container's own table.
_BYTES_PER_ITEM = 100

_TENSOR_CLASSES = ("torch.Tensor", "torch._tensor.Tensor", "torch.nn.parameter.Parameter")


class Rebuilder:
    """Makes plain data, tensors and ``Inert``, as ``PickleMachine`` asks for them.

    Args:
        allowance: of the file.
        storages: finds what a persistent id names; None: the file may have none.
        exact: refuse what would become ``Inert``, or a plainer container than it was.
    """

    def __init__(
        self,
        allowance: Allowance,
        storages: Callable[[object], Storage | None] | None = None,
        exact: bool = False,
    ) -> None:
        self._allowance = allowance
        self._storages = storages
        self._exact = exact
        self._names: dict[tuple[str, str], Any] = {}
        utils = "torch._utils._rebuild_"
        self._makers: dict[str, Callable[..., Any]] = {
            "collections.OrderedDict": self._ordered,
            "collections.Counter": lambda *counts: Counter(self._ordered(*counts)),
            "builtins.set": lambda items=(): {self.key(item) for item in self._counted(items)},
            "builtins.complex": lambda real, imaginary: complex(float(real), float(imaginary)),
            "builtins.bytes": self._bytes,
            "builtins.bytearray": lambda *content: bytearray(self._bytes(*content)),
            "_codecs.encode": self._bytes,
            "torch.Size": lambda sizes: torch.Size(self._counted(sizes)),
            "torch.device": torch.device,
            # As in torch/_utils.py, without gradients and hooks.
            f"{utils}tensor": self._tensor,
            f"{utils}tensor_v2": self._tensor_v2,
            f"{utils}tensor_v3": self._tensor_v3,
            f"{utils}parameter": self._first_tensor,
            f"{utils}parameter_with_state": self._first_tensor,
            f"{utils}device_tensor_from_cpu_tensor": self._first_tensor,
            f"{utils}device_tensor_from_numpy": self._first_tensor,
            "torch._tensor._rebuild_from_type_v2": self._typed_tensor,
        }

    def named(self, module: str, name: str) -> Any:  # noqa: ANN401
        """Return a kind of numbers where torch's is named, else an ``Inert`` with the name.

        Raises:
            UnsafeFile: if only a hostile file would name it.
        """
        if len(module) + len(name) > LONGEST_NAME:
            raise UnsafeFile(f"it has a name of {len(module) + len(name)} characters")
        if (module, name) not in self._names:
            wanted = full_name(module, name)
            dtype = getattr(torch, name, None) if module == "torch" else None
            self._names[module, name] = dtype if isinstance(dtype, torch.dtype) else Inert(wanted)
        return self._names[module, name]

    def made(self, what: object, arguments: tuple[Any, ...]) -> Any:  # noqa: ANN401
        """Return what a call would have given, as far as it is plain data or a tensor.

        Raises:
            UnsafeFile: if the arguments do not fit, or ask for more than the file holds.
        """
        if not isinstance(what, Inert) or what.args is not None:
            raise UnsafeFile("it calls what it does not name")
        if maker := self._makers.get(what.name):
            return maker(*arguments)
        if self._exact:
            raise UnsafeFile(f"it names {what.name}, which cannot be taken over")
        if what.name.endswith(("Dict", "dict", "CfgNode", "ConfigNode", "Counter")):
            return OrderedDict()  # which the file fills
        if what.name.endswith(("List", "list", "deque")):
            return []
        made = Inert(what.name, arguments)
        self._take_array(made)
        return made

    def fill(self, target: object, state: object) -> None:
        """Give a state to an ``Inert``. Attributes of containers and tensors are left out."""
        if isinstance(target, Inert) and target.args is not None:
            target.state = state
            self._take_array(target)

    def persistent(self, pid: object) -> Storage | None:
        """Return a storage.

        Raises:
            UnsafeFile: if the file has no such.
        """
        if self._storages is None:
            raise UnsafeFile("it refers to data outside itself")
        return self._storages(pid)

    def key(self, value: object) -> Hashable:
        """Return a value as a key; what is no plain one becomes an ``Inert`` that holds it.

        Tuples and large integers can be made to have all one hash, which costs hours, and to hash
        a tuple in a tuple in a tuple takes more of the processor's stack than there is.

        Raises:
            UnsafeFile: likewise, if the data must be exact.
        """
        plain = value is None or isinstance(value, str | bytes | bool | float | Inert)
        if plain or (isinstance(value, int) and -(2**63) <= value < 2**64):
            return value
        if self._exact:
            raise UnsafeFile(f"it has a {type(value).__name__} as a key")
        return Inert(f"builtins.{type(value).__name__}", (value,))

    def _counted(self, items: Any) -> Any:  # noqa: ANN401
        """A container that is copied; a file can ask for that again and again."""
        if not isinstance(items, list | tuple | dict):
            raise UnsafeFile(f"it makes a container of {shown(items)}")
        self._allowance.take_copy(_BYTES_PER_ITEM * len(items))
        return items

    def _ordered(self, items: object = ()) -> OrderedDict[Hashable, Any]:
        """Of pairs, as Python 2 wrote it, or of another dictionary."""
        given = self._counted(items)
        pairs = given.items() if isinstance(given, dict) else given
        return OrderedDict((self.key(key), value) for key, value in pairs)

    def _bytes(self, content: object = b"", encoding: object = "latin1") -> bytes:
        """As they were written before pickles had instructions for bytes."""
        if not isinstance(content, str | bytes | bytearray):
            raise UnsafeFile(f"it asks for {shown(content)} bytes that it does not hold")
        self._allowance.take_copy(len(content))
        if isinstance(content, str):
            return content.encode("utf-8" if encoding == "utf-8" else "latin1")
        return bytes(content)

    def _tensor(
        self,
        storage: object,
        offset: object,
        size: object,
        stride: object,
        dtype: object = None,
        conjugate: object = None,
    ) -> Tensor:
        if (
            not isinstance(storage, Storage)
            or not isinstance(dtype, torch.dtype | None)
            or conjugate
        ):
            raise UnsafeFile("it has a tensor of an unknown kind")
        return storage.tensor(self._allowance, offset, size, stride, dtype)

    def _tensor_v2(self, *args: object) -> Tensor:
        storage, offset, size, stride, _, _, *conjugate = args
        return self._tensor(storage, offset, size, stride, None, *conjugate)

    def _tensor_v3(self, *args: object) -> Tensor:
        storage, offset, size, stride, _, _, *dtype_and_conjugate = args
        return self._tensor(storage, offset, size, stride, *dtype_and_conjugate)

    def _first_tensor(self, data: object, *_: object) -> Tensor:
        tensor = tensor_of(data)
        if tensor is None:
            raise UnsafeFile("it has a tensor of an unknown kind")
        return tensor

    def _typed_tensor(self, rebuild: object, kind: object, arguments: object, _: object) -> Tensor:
        """A tensor with attributes, which are left out, or of a class of its own."""
        usual = isinstance(kind, Inert) and kind.name in _TENSOR_CLASSES
        if not isinstance(arguments, tuple) or (self._exact and not usual):
            raise UnsafeFile("it has a tensor of an unknown kind")
        return self._first_tensor(self.made(rebuild, arguments))

    def _take_array(self, value: Inert) -> None:
        content = array_content(value)
        if content is not None:
            self._allowance.take_copy(len(content))
            value.tensor = array_tensor(value)
