"""Files that stand under their name only when they are whole."""

from __future__ import annotations

import io
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TextIO

from fcos_lightning.errors import UserError

#: No draft takes nearly as long; older ones were left by processes that were killed.
_ABANDONED_AFTER_S = 3600.0
#: Ends the names of drafts, which are hidden and begin with the name of what they will be.
DRAFT = ".draft"


@contextmanager
def replacing(path: Path, durable: bool = True) -> Iterator[IO[bytes]]:
    """Open a draft in a file's folder, which takes the file's place once it is on the disk.

    Whatever happens before, the file stays as it was and no draft is left; only a kill leaves one,
    which a later call removes.

    Args:
        path: of the file; its folder must be there.
        durable: wait until the disk has it, so that a loss of power leaves the old file or the new
            one. What can be had again need not wait.

    Raises:
        OSError: if it cannot be written.
    """
    prefix = f".{path.name}."
    _remove_abandoned(path.parent, prefix)
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=prefix, suffix=DRAFT)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
        os.chmod(draft, 0o666 & ~umask())
        os.replace(draft, path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise
    if durable:
        _sync_folder(path.parent)


@contextmanager
def replacing_text(path: Path, newline: str | None = None) -> Iterator[TextIO]:
    """Open a draft of text in UTF-8, see ``replacing``.

    Args:
        path: of the file; its folder must be there.
        newline: as of ``open``.

    Raises:
        OSError: if it cannot be written.
    """
    with replacing(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline=newline)
        try:
            yield text
            text.flush()
        finally:
            with suppress(OSError, ValueError):
                text.detach()  # else it would close the draft, whose owner is not done with it


def write_whole(content: bytes | str, path: Path) -> None:
    """Write a file that stands under its name only when it is whole; its folder is made.

    Args:
        content: text is written in UTF-8.
        path: of the file.

    Raises:
        UserError: if it cannot be written; nothing half written stays.
    """
    with writable(path), replacing(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def copy_whole(source: Path, target: Path) -> None:
    """Copy a file; the target is replaced whole or not at all.

    Raises:
        OSError: if it cannot be written.
    """
    with source.open("rb") as file, replacing(target) as draft:
        shutil.copyfileobj(file, draft)


@contextmanager
def writable(path: Path) -> Iterator[None]:
    """Make a file's folder, and say in one line if the file cannot be written.

    Raises:
        UserError: in place of whatever the system raised.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        reason = error.strerror or error
        raise UserError(
            f"cannot write {path}: {reason}; free the place or choose another folder"
        ) from error


def remove_drafts(folder: Path) -> None:
    """Remove what killed processes left half written, where no other process writes files."""
    for draft in folder.glob(f".*{DRAFT}"):
        if draft.is_file():
            draft.unlink(missing_ok=True)


def _remove_abandoned(folder: Path, prefix: str) -> None:
    """Remove drafts of processes that were killed long ago."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(prefix) and entry.name.endswith(DRAFT):
                with suppress(OSError):  # gone already, or someone else's
                    if time.time() - entry.stat().st_mtime > _ABANDONED_AFTER_S:
                        os.unlink(entry.path)


def _sync_folder(folder: Path) -> None:
    """Let the disk know of a new name, where a system lets one ask."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def umask() -> int:
    """Return the process's umask, which can be read only by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
