"""One object of a listing, read whole or in part, and checked to be the one that was listed."""

from __future__ import annotations

import hashlib
from typing import IO

from fcos_lightning.data.stores.patience import CutShort, patiently
from fcos_lightning.data.stores.places import RemotePlace
from fcos_lightning.data.stores.trees.listing import Listed, version_of
from fcos_lightning.errors import UserError

#: Of one answer: what is lost when a connection breaks.
PART_BYTES = 8 << 20


class NotAsListed(UserError):
    """An object is gone, or another one by now."""


def read_object(place: RemotePlace, one: Listed) -> bytes:
    """Return the content of an object.

    Raises:
        NotAsListed: if it is not there as it was listed.
        StoreError: if nothing can be read of the place.
    """
    content = read_part(place, one, 0, one.size)
    _check(place, one, hashlib.md5(content, usedforsecurity=False).hexdigest())
    return content


def copy_object(place: RemotePlace, one: Listed, file: IO[bytes]) -> None:
    """Write the content of an object, which may be large, see ``read_object``.

    Raises:
        OSError: if it cannot be written.
    """
    md5 = hashlib.md5(usedforsecurity=False)
    for start in range(0, one.size, PART_BYTES):
        part = read_part(place, one, start, min(start + PART_BYTES, one.size))
        md5.update(part)
        file.write(part)
    _check(place, one, md5.hexdigest())


def read_part(place: RemotePlace, one: Listed, start: int, stop: int) -> bytes:
    """Return some bytes of an object, see ``read_object``; only its size is checked."""
    if start >= stop:
        return b""  # no server gives a part of nothing
    address = f"{place.text}/{one.name}"

    def ask() -> bytes | None:
        system, path = place.opened()
        try:
            content: bytes = system.cat_file(f"{path}/{one.name}", start=start, end=stop)
        except OSError as error:
            # Of an object that has become smaller, some parts cannot be had.
            if isinstance(error, PermissionError) or _is_still(place, one):
                raise
            return None
        if len(content) < stop - start:
            if not _is_still(place, one):
                return None
            raise CutShort(f"{len(content)} of {stop - start} bytes came")
        return content

    content = patiently(address, ask)
    if content is None:
        raise _changed(place, one)
    # A server that knows no ranges sends the whole file.
    return content if len(content) == stop - start else content[start:stop]


def _check(place: RemotePlace, one: Listed, md5: str) -> None:
    """Look again at an object whose content is not what its version says, as far as that says it.

    Versions of encrypted objects look like MD5 and are none: they are asked for again.
    """
    if not one.version.startswith("md5:") or one.version == f"md5:{md5}":
        return
    if not patiently(f"{place.text}/{one.name}", lambda: _is_still(place, one)):
        raise _changed(place, one)


def _is_still(place: RemotePlace, one: Listed) -> bool:
    """Ask whether an object is the one that was listed."""
    system, path = place.opened()
    try:
        about = system.info(f"{path}/{one.name}")
    except FileNotFoundError:
        return False
    return about.get("type") == "file" and (about.get("size"), version_of(about)) == (
        one.size,
        one.version,
    )


def _changed(place: RemotePlace, one: Listed) -> NotAsListed:
    return NotAsListed(
        f"{place.text}/{one.name} was removed or changed since it was listed: start again"
    )
