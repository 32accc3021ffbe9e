"""Folders here and on object storage, behind one interface."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from fcos_lightning.data.stores.addresses import checked_address, is_address
from fcos_lightning.data.stores.patience import CutShort, patiently
from fcos_lightning.data.stores.store import StoreError
from fcos_lightning.errors import UserError
from fcos_lightning.extras import pip_install
from fcos_lightning.storage.replacing import write_whole
from fcos_lightning.storage.small_files import read_small

#: Until a connection stands, and until something more comes over it.
_CONNECT_S, _READ_S = 10, 20
#: At the same time, of one process: as many as there are threads that bring images.
_CONNECTIONS = 64

#: Where a file's folder comes with the file, and making one would make a bucket.
_WITHOUT_FOLDERS = ("s3", "s3a", "gs", "gcs", "hf")


class Place(Protocol):
    """A folder of a few large files."""

    @property
    def text(self) -> str:
        """As messages and configurations name it."""

    @property
    def remote(self) -> bool:
        """Whether it is no folder of this machine."""

    def whole(self, name: str, most_bytes: int) -> bytes | None:
        """Return the content of a small file; None if there is none of this name.

        Raises:
            UserError: if it cannot be read or is too large.
        """

    def part(self, name: str, start: int, stop: int) -> bytes:
        """Return the bytes of a file from ``start`` to ``stop``; fewer if it ends before.

        Raises:
            UserError: if they cannot be read.
        """

    def write(self, name: str, content: bytes) -> None:
        """Write a file; it is there when it is whole.

        Raises:
            UserError: if it cannot be written.
        """

    def remove(self, name: str) -> None:
        """Remove a file, if that is possible."""

    def is_empty(self) -> bool:
        """Tell whether there is nothing yet."""


def place_of(text: str | Path, key: str) -> Place:
    """Return the place that a setting names: a folder, or an address that fsspec knows.

    Raises:
        UserError: if the address carries a password, or is of a kind that is not known.
    """
    words = str(text)
    if is_address(words):
        return RemotePlace(checked_address(words, key), key)
    return LocalPlace(Path(words.removeprefix("file://")))


@dataclass(frozen=True)
class LocalPlace:
    """A folder on this machine.

    Attributes:
        folder: its path.
    """

    folder: Path
    remote: bool = False

    @property
    def text(self) -> str:
        """Its path."""
        return str(self.folder)

    def whole(self, name: str, most_bytes: int) -> bytes | None:
        """Return the content of a small file, see ``Place``."""
        path = self.folder / name
        return read_small(path, most_bytes) if path.is_file() else None

    def part(self, name: str, start: int, stop: int) -> bytes:
        """Return some bytes of a file, see ``Place``."""
        try:
            with (self.folder / name).open("rb") as file:
                file.seek(start)
                return file.read(stop - start)
        except OSError as error:
            raise UserError(f"{self.folder / name} cannot be read: {error.strerror}") from None

    def write(self, name: str, content: bytes) -> None:
        """Write a file, see ``Place``."""
        write_whole(content, self.folder / name)

    def remove(self, name: str) -> None:
        """Remove a file, see ``Place``."""
        with suppress(OSError):
            (self.folder / name).unlink(missing_ok=True)

    def is_empty(self) -> bool:
        """Tell whether there is no such folder, or nothing in it."""
        try:
            return not any(self.folder.iterdir())
        except FileNotFoundError:
            return True
        except OSError as error:
            raise UserError(f"{self.folder} cannot be looked into: {error.strerror}") from None


@dataclass
class RemotePlace:
    """A folder on object storage.

    Attributes:
        text: its address.
        key: of the setting that gives it.
    """

    text: str
    key: str = "data.root"
    remote: bool = True
    _system: tuple[int, Any, str] | None = field(default=None, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_system": None}

    def whole(self, name: str, most_bytes: int) -> bytes | None:
        """Return the content of a small file, see ``Place``."""
        address = f"{self.text}/{name}"

        def ask() -> bytes | None:
            system, path = self.opened()
            try:
                # Not asked for its size before: over HTTP whatever goes wrong then is "not found".
                content: bytes = system.cat_file(f"{path}/{name}", start=0, end=most_bytes + 1)
            except FileNotFoundError:
                return None
            if len(content) > most_bytes:
                raise StoreError(f"{address} is over {most_bytes} bytes: refused")
            return content

        return patiently(address, ask)

    def part(self, name: str, start: int, stop: int) -> bytes:
        """Return some bytes of a file, see ``Place``."""

        def ask() -> bytes:
            system, path = self.opened()
            content: bytes = system.cat_file(f"{path}/{name}", start=start, end=stop)
            if len(content) < stop - start:
                raise CutShort(f"{len(content)} of {stop - start} bytes came")
            return content

        content = patiently(f"{self.text}/{name}", ask)
        # A server that knows no ranges sends the whole file.
        return content if len(content) == stop - start else content[start:stop]

    def write(self, name: str, content: bytes) -> None:
        """Write a file, see ``Place``."""

        def ask() -> None:
            system, path = self.opened()
            if self.text.split("://", 1)[0] not in _WITHOUT_FOLDERS:
                system.makedirs(path, exist_ok=True)
            system.pipe_file(f"{path}/{name}", content)

        patiently(f"{self.text}/{name}", ask)

    def remove(self, name: str) -> None:
        """Remove a file, see ``Place``."""
        with suppress(Exception):  # each library of an object storage has its own
            system, path = self.opened()
            system.rm_file(f"{path}/{name}")

    def is_empty(self) -> bool:
        """Tell whether there is nothing below the address."""

        def ask() -> bool:
            system, path = self.opened()
            system.invalidate_cache()
            try:
                return not system.ls(path, detail=False)
            except FileNotFoundError:
                return True

        return patiently(self.text, ask)

    def opened(self) -> tuple[Any, str]:
        """Return fsspec's file system and the path in it; each process has one of its own."""
        if self._system is None or self._system[0] != os.getpid():
            self._system = (os.getpid(), *_file_system(self.text, self.key))
        return self._system[1], self._system[2]


def _file_system(address: str, key: str) -> tuple[Any, str]:
    import fsspec

    scheme = address.split("://", 1)[0].lower()
    options: dict[str, Any] = {}
    if scheme in ("s3", "s3a"):
        options["config_kwargs"] = {
            "connect_timeout": _CONNECT_S,
            "read_timeout": _READ_S,
            "retries": {"max_attempts": 0},  # ``patiently`` does that
            "max_pool_connections": _CONNECTIONS,
        }
    elif scheme in ("http", "https"):
        options["get_client"] = partial(_http_client, _CONNECT_S, _READ_S)
    try:
        return fsspec.core.url_to_fs(address, use_listings_cache=False, **options)  # type: ignore[no-any-return]
    except ImportError as error:
        raise StoreError(
            f"{key}={address}: a library for {scheme}:// is missing ({error}): "
            f"{pip_install('remote')}"
        ) from None
    except ValueError as error:
        raise StoreError(
            f"{key}={address}: {error}; give s3://, gs://, https:// or hf://"
        ) from None


async def _http_client(connect_s: float, read_s: float, **options: Any) -> Any:  # noqa: ANN401
    """Return aiohttp's session, which by itself would wait for minutes."""
    import aiohttp

    waits = aiohttp.ClientTimeout(total=None, sock_connect=connect_s, sock_read=read_s)
    return aiohttp.ClientSession(**{**options, "timeout": waits})
