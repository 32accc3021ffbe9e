"""Fetch a file over HTTP: resumed after a cut, checked, and renamed into place when complete.

While a download lasts it is ``NAME.part`` beside the target, see ``part_file.py``. ``unpack`` for
the archives stands in ``archives.py``.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import shutil
import socket
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import IO

from fcos_lightning.errors import UserError
from fcos_lightning.printing import LONGEST_LINE, printable
from fcos_lightning.storage.archives import is_unpacked, locked, unpack
from fcos_lightning.storage.bars import Bar, progress_bar, readable_size
from fcos_lightning.storage.folders import same_file
from fcos_lightning.storage.part_file import (
    Version,
    read_stamp,
    remove_if_empty,
    start_over,
    write_stamp,
)

__all__ = ["fetch", "is_unpacked", "remote_size", "unpack"]

_RETRIES = 5
#: Of a host that no name server knows, mostly as there is no network; a server may be slow once.
_RETRIES_OF_NAME = 1
_BACKOFF_S = 1.0
_LONGEST_PAUSE_S = 30.0
_TIMEOUT_S = 30.0
_CHUNK = 1 << 18
_HEADERS = {"User-Agent": "fcos-lightning", "Accept-Encoding": "identity"}
# What may go away by itself; every other HTTP error is final.
_PASSING = {408, 425, 429, 500, 502, 503, 504}


class _DroppedError(Exception):
    """The transfer ended early, and trying again may help.

    Attributes:
        retries: so often, without getting on.
    """

    retries = _RETRIES


class _UnknownHostError(_DroppedError):
    """The host's name leads nowhere, which more than a short try seldom mends."""

    retries = _RETRIES_OF_NAME


def fetch(
    url: str,
    path: Path,
    *,
    sha256: str | None = None,
    md5: str | None = None,
    size: int | None = None,
    progress: bool = True,
) -> Path:
    """Download ``url`` to ``path``, unless it is there already.

    A cut connection is taken up where it broke, in this call (a bounded number of times) or in a
    later one; a file that changed on the server, or a server without ranges, starts from the
    beginning. ``path`` appears only when complete and checked.

    Args:
        url: http or https.
        path: target file; its folder is created.
        sha256: expected digest in hex, or its first digits, as far as known.
        md5: expected digest in hex, if known. It finds accidents, not attacks.
        size: expected size in bytes, if known. The server's own figure is always checked.
        progress: show a bar if stderr is a terminal.

    Returns:
        ``path``.

    Raises:
        UserError: if the server refuses or keeps failing, a check fails, the disk is full, or
            ``path`` holds something that fails the checks.
    """
    if not url.lower().startswith(("http://", "https://")):
        raise UserError(f"cannot download {url}: only http and https addresses are fetched")
    path = Path(path)
    if path.exists():
        if wrong := _mismatch(path, sha256, md5, size):
            raise UserError(
                f"{path} is not the file of {url}: {wrong}; move it away and try again",
                whole=(url, str(path)),
            )
        return path
    part = path.with_name(f"{path.name}.part")
    stamp = path.with_name(f"{path.name}.part.json")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("ab") as file, locked(file, part), progress_bar(path.name, progress) as bar:
            # Another process may have come to its end before this one held the part.
            ours = not path.exists() and same_file(file.fileno(), part)
            wrong = ""
            try:
                if ours:
                    wrong = _fill(url, file, stamp, (sha256, md5, size), bar)
            finally:
                remove_if_empty(part, stamp)
            # While no other process can take the part up; Windows renames no open file.
            if ours and not wrong and os.name == "posix":
                os.replace(part, path)
        if wrong:
            raise UserError(
                f"the download of {url} is damaged or another file: {wrong}; it was removed, "
                "try again or use another mirror",
                whole=(url,),
            )
        if not ours:
            return fetch(url, path, sha256=sha256, md5=md5, size=size, progress=progress)
        if os.name != "posix":
            os.replace(part, path)
        stamp.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot write {path} ({error.strerror or error}): free space or choose another folder",
            whole=(str(path),),
        ) from error
    return path


def remote_size(url: str) -> int | None:
    """Size in bytes as the server gives it; None if it does not say or cannot be reached."""
    request = urllib.request.Request(url, headers=_HEADERS, method="HEAD")
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as response:
            return _whole_number(response.headers.get("Content-Length"))
    except (OSError, http.client.HTTPException, ValueError):
        return None


def _fill(
    url: str,
    file: IO[bytes],
    stamp: Path,
    expected: tuple[str | None, str | None, int | None],
    bar: Bar,
) -> str:
    """Complete and check the part file; returns what is wrong with it, having emptied it."""
    sha256, md5, size = expected
    part = Path(file.name)
    resumed = file.tell() > 0
    _receive_with_retries(url, file, stamp, bool(sha256 or md5), size, bar)
    wrong = _mismatch(part, sha256, md5, size)
    if wrong and resumed:
        # The first bytes may be another version's; a clean start settles it.
        start_over(file, stamp)
        _receive_with_retries(url, file, stamp, True, size, bar)
        wrong = _mismatch(part, sha256, md5, size)
    if wrong:
        start_over(file, stamp)
    os.fsync(file.fileno())
    return wrong


def _receive_with_retries(
    url: str, file: IO[bytes], stamp: Path, checksummed: bool, size: int | None, bar: Bar
) -> None:
    failures = 0
    while True:
        before = file.tell()
        try:
            _receive(url, file, stamp, checksummed, size, bar)
            return
        except _DroppedError as error:
            # A transfer that gets on may be cut often; one that stands still may not.
            failures = 1 if file.tell() >= before + (1 << 20) else failures + 1
            if failures > error.retries:
                kept = f"{readable_size(file.tell())} are kept, " if file.tell() else ""
                raise UserError(
                    f"{url} keeps failing ({error}): {kept}run the same command again to go on",
                    whole=(url,),
                ) from error
            pause = min(_BACKOFF_S * 2 ** (failures - 1), _LONGEST_PAUSE_S)
            host = urllib.parse.urlsplit(url).netloc.rpartition("@")[2]
            bar.say(printable(f"{host}: {error}; trying again in {pause:.0f} s", LONGEST_LINE))
            time.sleep(pause)


def _receive(
    url: str, file: IO[bytes], stamp: Path, checksummed: bool, size: int | None, bar: Bar
) -> None:
    """One request: go on where ``file`` ends, or start over where that is not safe.

    Raises:
        _DroppedError: if the transfer ended early.
        UserError: if trying again cannot help.
    """
    version = read_stamp(stamp, url)
    # Without a validator the rest may be another version's, which only a checksum would tell.
    if file.tell() and not (version and version.validator) and not checksummed:
        start_over(file, stamp)
    headers = dict(_HEADERS)
    if have := file.tell():
        headers["Range"] = f"bytes={have}-"
        if version and version.validator:
            headers["If-Range"] = version.validator
    try:
        response = urllib.request.urlopen(
            urllib.request.Request(url, headers=headers), timeout=_TIMEOUT_S
        )
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 416 and have:
                if error.headers.get("Content-Range") == f"bytes */{have}":
                    return  # killed between the last byte and the rename
                start_over(file, stamp)
                raise _DroppedError("the file on the server is shorter than before") from error
            message = f"the server answers {error.code} {error.reason}"
            if error.code in _PASSING:
                raise _DroppedError(message) from error
        raise UserError(f"cannot download {url}: {message}", whole=(url,)) from error
    except (OSError, http.client.HTTPException) as error:
        unknown = isinstance(getattr(error, "reason", error), socket.gaierror)
        kind = _UnknownHostError if unknown else _DroppedError
        raise kind(_reason(error)) from error
    except ValueError as error:
        raise UserError(f"cannot download {url}: {error}") from error
    with response:
        now = Version(url, response.headers.get("ETag"), response.headers.get("Last-Modified"))
        if response.status == 206:
            total = _accepted_range(response.headers.get("Content-Range"), have)
            if total is _REFUSED or (version and version.differs(now)):
                start_over(file, stamp)
                raise _DroppedError("the server sent another part of the file than asked for")
        else:
            start_over(file, stamp)
            total = _whole_number(response.headers.get("Content-Length"))
            write_stamp(now, stamp)
        if total is not None:
            _check_total(url, total, size, file, stamp)
        _copy(response, file, total, bar)


def _copy(response: http.client.HTTPResponse, file: IO[bytes], total: int | None, bar: Bar) -> None:
    while True:
        try:
            chunk = response.read(_CHUNK)
        except (OSError, http.client.HTTPException) as error:
            file.flush()
            raise _DroppedError(_reason(error)) from error
        if not chunk:
            break
        file.write(chunk)
        bar.show(file.tell(), total)
    file.flush()
    if total is not None and file.tell() < total:
        raise _DroppedError(f"the connection closed at byte {file.tell()} of {total}")


_REFUSED = -1


def _accepted_range(header: str | None, have: int) -> int | None:
    """Total size out of Content-Range, None if not given, ``_REFUSED`` if it does not fit."""
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", header or "")
    if not match or int(match[1]) != have:
        return _REFUSED
    return None if match[2] == "*" else int(match[2])


def _check_total(url: str, total: int, size: int | None, file: IO[bytes], stamp: Path) -> None:
    if size is not None and total != size:
        start_over(file, stamp)
        raise UserError(f"{url} has {total} bytes on the server instead of {size}")
    free = shutil.disk_usage(stamp.parent).free
    if total - file.tell() > free:
        raise UserError(
            f"{stamp.parent} has {readable_size(free)} free and {url} still needs "
            f"{readable_size(total - file.tell())}: free space or choose another folder",
            whole=(url, str(stamp.parent)),
        )


def _whole_number(header: str | None) -> int | None:
    return int(header) if header and header.isdecimal() else None


def _reason(error: BaseException) -> str:
    """One line out of a network error."""
    inner = error.reason if isinstance(error, urllib.error.URLError) else error
    return " ".join((str(inner) or type(inner).__name__).split())


def _mismatch(path: Path, sha256: str | None, md5: str | None, size: int | None) -> str:
    """What does not fit the expectations; empty if all does."""
    if size is not None and path.stat().st_size != size:
        return f"it has {path.stat().st_size} bytes instead of {size}"
    for name, expected in (("sha256", sha256), ("md5", md5)):
        if expected is None:
            continue
        digest = hashlib.new(name, usedforsecurity=False)
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
        if not digest.hexdigest().startswith(expected.lower()):
            return f"its {name} is {digest.hexdigest()} instead of {expected.lower()}"
    return ""
