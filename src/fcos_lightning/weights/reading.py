"""Files of weights from anywhere, read without running anything that they may hold.

What a file holds becomes plain data (dictionaries, lists, text, numbers) and tensors; in place of
all else stands an ``Inert``. A file makes no more of itself than its own length allows, see
``Allowance`` and ``PickleMachine``.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from safetensors import safe_open
from torch import Tensor

from fcos_lightning.errors import UserError
from fcos_lightning.weights.allowance import Allowance, Stretch
from fcos_lightning.weights.pickle_machine import PickleMachine
from fcos_lightning.weights.rebuilding import Rebuilder
from fcos_lightning.weights.stand_ins import Inert as Inert
from fcos_lightning.weights.stand_ins import UnsafeFile
from fcos_lightning.weights.stand_ins import tensor_of as tensor_of
from fcos_lightning.weights.storages import LegacyStorages, Storage, ZippedStorages

#: First pickle of files that torch wrote before its version 1.6 (torch/serialization.py).
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C

#: Bytes of the header of a ``.safetensors`` file: some 100 for each tensor, and descriptions.
_LONGEST_HEADER = 2**23

#: How deep containers lie in one another, and how many values they have, where one that is there
#: several times counts each time: whoever walks through them meets it as often.
_CONTAINERS = (dict, list, tuple, set, frozenset)
_DEEPEST = 100
_MOST_VALUES = 1_000_000


def read_file(path: Path, kind: str, exact: bool = False) -> Any:  # noqa: ANN401  # data of any form
    """Return what a file of weights holds: torch's of any age, ``.safetensors``, plain pickles.

    Args:
        path: of the file.
        kind: what the file should be, for messages.
        exact: refuse a file that holds anything but plain data and tensors.

    Raises:
        UserError: if there is no such file, or it cannot be read without running what it holds.
    """
    if path.suffix == ".safetensors":
        return read_safetensors(path, kind)[0]

    def read(file: IO[bytes], length: int) -> Any:  # noqa: ANN401
        content = _unpickled(file, length, exact)
        _check_form(content)
        return content

    return _guarded(path, kind, read)


def read_safetensors(path: Path, kind: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors of a ``.safetensors`` file, and the texts in its header.

    Raises:
        UserError: if there is no such file, or it is of another form.
    """

    def read(file: IO[bytes], length: int) -> tuple[dict[str, Tensor], dict[str, str]]:
        start = file.read(8)
        header = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if header > min(length, _LONGEST_HEADER):
            raise UnsafeFile(f"its header has {header} bytes")
        with safe_open(path, framework="pt") as content:
            tensors = {key: content.get_tensor(key) for key in content.keys()}  # noqa: SIM118
            return tensors, content.metadata() or {}

    found: tuple[dict[str, Tensor], dict[str, str]] = _guarded(path, kind, read)
    return found


def _guarded(path: Path, kind: str, read: Callable[[IO[bytes], int], Any]) -> Any:  # noqa: ANN401
    """Read a file; whatever is wrong with it becomes one line."""
    try:
        if not path.is_file():
            raise UserError(f"{kind} {path}: no such file")
        with path.open("rb") as file:
            return read(file, path.stat().st_size)
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"{kind} {path}: cannot be read ({error.strerror or error})") from error
    except Exception as error:  # a broken file fails in any way, a hostile one likewise
        reason = str(error) if isinstance(error, UnsafeFile) else type(error).__name__
        raise UserError(
            f"{kind} {path}: not a readable file of plain data; nothing in it was run ({reason})"
        ) from error


def _unpickled(file: IO[bytes], length: int, exact: bool) -> Any:  # noqa: ANN401
    allowance = Allowance.of(length)

    def load(stretch: Stretch, storages: Callable[[object], Storage | None] | None = None) -> Any:  # noqa: ANN401
        return PickleMachine(stretch, Rebuilder(allowance, storages, exact)).run()

    start = file.read(4)
    file.seek(0)
    if start == b"PK\x03\x04":
        zipped = ZippedStorages(file, length, allowance)
        return load(zipped.pickle(), zipped)
    stretch = Stretch(file, length)
    first = load(stretch)
    if first != _LEGACY_MAGIC:
        return first
    for _ in ("version", "machine"):
        load(stretch)
    storages = LegacyStorages(allowance)
    content = load(stretch, storages)
    storages.fill(load(stretch), stretch)
    return content


def _check_form(content: object) -> None:
    """Refuse what would keep whoever walks through it busy for ever, or overflow his stack."""
    values = 0
    waiting: list[tuple[Any, int]] = [([content], 0)]
    while waiting:
        value, depth = waiting.pop()
        inner = value.values() if isinstance(value, dict) else value
        values += len(inner)
        if values > _MOST_VALUES or depth > _DEEPEST:
            how = "more values" if values > _MOST_VALUES else "deeper"
            raise UnsafeFile(f"its data unfolds to {how} than any checkpoint needs")
        waiting.extend((one, depth + 1) for one in inner if isinstance(one, _CONTAINERS))
