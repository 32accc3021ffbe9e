"""What lies below an address: names, sizes and versions, asked for once.

This is the one place that knows how the libraries of object storages list their contents.
Names come from strangers. One that no folder could have is refused: it might lead elsewhere, and
what an annotation means by it could not be told.

Legend: ``N`` objects.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fcos_lightning.data.stores.patience import patiently
from fcos_lightning.data.stores.places import RemotePlace
from fcos_lightning.data.stores.store import StoreError
from fcos_lightning.errors import shown
from fcos_lightning.storage.archives import leads_out

#: Of a name, as systems know it; and of a whole path, which S3 allows 1024 bytes.
_MOST_NAME_BYTES, _MOST_PATH_BYTES = 255, 2048
#: What tells versions of an object apart, the first that a library gives. Those of the first group
#: depend on the content alone.
_CONTENT_KEYS = ("md5Hash", "blob_id", "oid")
_VERSION_KEYS = (
    *("ETag", "etag", "generation", "LastModified", "last_modified", "updated", "mtime", "created"),
)
_MD5 = re.compile(r"[0-9a-f]{32}")
#: Address kinds that cannot say what there is.
_NOT_LISTED = ("http", "https")


@dataclass(frozen=True)
class Listed:
    """An object.

    Attributes:
        name: below the address, with ``/`` between folders.
        size: in bytes.
        version: changes when the object does; ``md5:`` or ``same:`` before what depends on its
            content alone.
    """

    name: str
    size: int
    version: str

    @property
    def key(self) -> str:
        """What stands for this version of the object below its address, in 32 signs."""
        words = f"{self.name}\n{self.size}\n{self.version}".encode()
        return hashlib.blake2b(words, digest_size=16).hexdigest()


@dataclass(frozen=True, eq=False)
class Listing:
    """All objects below an address, in the order of their names.

    Attributes:
        names: ``[N]``.
        sizes: ``[N]`` int64, bytes.
        versions: ``[N]``, see ``Listed``.
    """

    names: list[str]
    sizes: NDArray[np.int64]
    versions: NDArray[np.bytes_]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, row: int) -> Listed:
        return Listed(self.names[row], int(self.sizes[row]), self.versions[row].decode())

    @cached_property
    def rows(self) -> Mapping[str, int]:
        """The place of each name."""
        return {name: row for row, name in enumerate(self.names)}

    @cached_property
    def digest(self) -> str:
        """What stands for all of it."""
        made = hashlib.blake2b(digest_size=12)
        for row in range(len(self)):
            made.update(self[row].key.encode())
        return made.hexdigest()

    def packed(self) -> bytes:
        """Return the content of a file, which ``unpacked`` reads."""
        out = io.BytesIO()
        names = np.frombuffer(json.dumps(self.names).encode(), dtype=np.uint8)
        np.savez(out, names=names, sizes=self.sizes, versions=self.versions)
        return out.getvalue()

    @classmethod
    def unpacked(cls, content: bytes) -> Listing:
        """Return what ``packed`` has written."""
        with np.load(io.BytesIO(content), allow_pickle=False) as kept:
            names = json.loads(kept["names"].tobytes())
            return cls(names, kept["sizes"], kept["versions"])


def listing_of(place: RemotePlace) -> Listing:
    """List what lies below an address.

    Raises:
        StoreError: if it cannot be listed, or holds a name that no folder can have.
    """
    scheme = place.text.split("://", 1)[0].lower()
    if scheme in _NOT_LISTED:
        raise StoreError(
            f"data.root={place.text}: there is no shards.json, and {scheme}:// does not list "
            "folders, so that only packed data are read from it: pack yours with fcos-pack "
            "data.root=DIR out=ADDRESS"
        )
    pages = _pages_of_s3 if scheme in ("s3", "s3a") else _pages_of_any
    found: dict[str, tuple[int, bytes]] = {}
    for name, size, version in pages(place):
        if name and not name.endswith("/"):  # which stands for a folder
            found[name] = (size, version.encode())
    return _checked(place, found)


def _checked(place: RemotePlace, found: dict[str, tuple[int, bytes]]) -> Listing:
    folders: set[str] = set()
    for name in found:
        if wrong := wrong_name(name):
            raise StoreError(
                f"data.root={place.text}: an object below it is called {shown(name)}, which "
                f"{wrong}: rename it, or give an address that it is not below"
            )
        end = name.rfind("/")
        while end > 0 and name[:end] not in folders:
            folders.add(name[:end])
            end = name.rfind("/", 0, end)
    for name in folders.intersection(found):
        if found[name][0]:
            raise StoreError(
                f"data.root={place.text}: {shown(name)} is an object and a folder: rename one"
            )
        del found[name]  # an empty object that stands for the folder
    names = sorted(found)
    return Listing(
        names,
        np.array([found[name][0] for name in names], dtype=np.int64),
        np.array([found[name][1] for name in names], dtype=np.bytes_),
    )


def wrong_name(name: str) -> str | None:
    """Say why a name is none that a file below a folder can have."""
    parts = name.split("/")
    # A colon is an ordinary sign but on Windows.
    if leads_out(name, "\\\0" if os.name == "posix" else "\\:\0"):
        return "leads out of its folder, or holds a forbidden sign"
    if "" in parts or "." in parts:
        return "holds a part without a name"
    try:
        sizes = [len(part.encode()) for part in parts]
    except UnicodeEncodeError:
        return "is no valid Unicode"
    if max(sizes) > _MOST_NAME_BYTES or sum(sizes) + len(sizes) > _MOST_PATH_BYTES:
        return "is too long for a file"
    return None


def _pages_of_s3(place: RemotePlace) -> Iterator[tuple[str, int, str]]:
    """Yield name, size and version, page by page: s3fs would hold all of its own list at once."""
    system, path = place.opened()
    bucket, _, prefix = path.partition("/")
    prefix = f"{prefix}/" if prefix else ""
    more: dict[str, str] = {}
    while True:
        ask = partial(
            system.call_s3, "list_objects_v2", Bucket=bucket, Prefix=prefix, **more, **system.req_kw
        )
        page: dict[str, Any] | None = patiently(place.text, partial(_or_none, ask))
        if page is None:
            return
        for one in page.get("Contents", ()):
            yield one["Key"][len(prefix) :], int(one["Size"]), version_of(one)
        if not page.get("NextContinuationToken"):
            return
        more = {"ContinuationToken": page["NextContinuationToken"]}


def _pages_of_any(place: RemotePlace) -> Iterator[tuple[str, int, str]]:
    """Yield name, size and version, folder by folder."""
    system, path = place.opened()
    pending = [path]
    while pending:
        folder = pending.pop()
        ask = partial(system.ls, folder, detail=True)
        for one in patiently(place.text, partial(_or_none, ask)) or ():
            name = str(one["name"])
            if not name.startswith(f"{folder.rstrip('/')}/"):
                continue  # the folder itself, as some list it
            if one.get("type") == "directory":
                if len(name) - len(path) <= _MOST_PATH_BYTES:
                    pending.append(name.rstrip("/"))
            else:
                below = name[len(path.rstrip("/")) + 1 :]
                yield below, int(one.get("size") or 0), version_of(one)


def _or_none(ask: partial[Any]) -> Any:  # noqa: ANN401
    """Return an answer, or None where there is no such bucket or folder."""
    try:
        return ask()
    except FileNotFoundError:
        return None


def version_of(about: Mapping[str, Any]) -> str:
    """Return the version of an object, see ``Listed``, from what a library says of it."""
    for key in _CONTENT_KEYS:
        if about.get(key):
            return f"same:{about[key]}"
    for key in _VERSION_KEYS:
        if about.get(key):
            text = str(about[key]).strip('"')
            # S3's are MD5 unless an upload came in parts, or is encrypted by a key of one's own.
            return f"md5:{text}" if key == "ETag" and _MD5.fullmatch(text) else f"as:{text}"
    return ""
