"""Folders that are written whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fcos_lightning.errors import UserError
from fcos_lightning.storage.replacing import DRAFT, umask


@contextmanager
def complete_or_absent(folder: Path, last: str = "") -> Iterator[Path]:
    """Give a draft to write into; its content stands in ``folder`` once all of it is there.

    A folder that is not there yet appears in one step: its draft lies beside it. In one that is
    there, which may be the end of a mount or link, the draft lies inside, and its entries move up.
    After an error everything is as it was. Only a kill leaves a draft, hidden, which holds nobody
    up and goes when the same is tried again.

    Args:
        folder: to be written; new or empty.
        last: of the entries, the one that moves up last, as a sign that all are there.

    Raises:
        UserError: if the place cannot be written.
    """
    made = [one for one in (folder, *folder.parents) if not one.exists()]
    inside = not made
    above = next((one for one in folder.parents if one.exists()), None)
    if above is not None and not above.is_dir():
        raise UserError(f"cannot write {folder}: {above} is a file; choose another folder")
    draft: Path | None = None
    lock: int | None = None
    try:
        remove_dead_drafts(folder)
        where = folder if inside else folder.parent
        where.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=DRAFT, dir=where))
        lock = _held(draft)
        draft.chmod(0o777 & ~umask())  # mkdtemp's is for one user alone
        yield draft
        if inside:
            for entry in sorted(draft.iterdir(), key=lambda entry: entry.name == last):
                if os.path.lexists(folder / entry.name):  # the folder was empty at first
                    raise UserError(
                        f"cannot write {folder}: another process has written {entry.name} there "
                        "meanwhile; choose another folder"
                    )
                entry.rename(folder / entry.name)
            draft.rmdir()
        else:
            draft.rename(folder)
    except BaseException as error:
        if draft is not None:
            shutil.rmtree(draft, ignore_errors=True)
        for one in made:
            with suppress(OSError):  # never made, or someone else's by now
                one.rmdir()
        if isinstance(error, OSError | RecursionError):  # of thousands of folders in each other
            deep = "too many folders in each other"
            reason = deep if isinstance(error, RecursionError) else error.strerror or error
            raise UserError(
                f"cannot write {folder}: {reason}; free the place or choose another folder"
            ) from error
        raise
    finally:
        if lock is not None:
            os.close(lock)


def remove_dead_drafts(folder: Path) -> None:
    """Remove the drafts of a folder, beside it and in it, whose writers were killed."""
    for where in (folder.parent, folder):
        with suppress(OSError):
            for draft in where.iterdir():
                if draft.name.startswith(f".{folder.name}.") and draft.name.endswith(DRAFT):
                    _remove_if_dead(draft)


def _remove_if_dead(draft: Path) -> None:
    if not draft.is_dir():
        return  # the draft of a file of this name
    lock = _held(draft)
    if lock is None:
        return
    try:
        shutil.rmtree(draft, ignore_errors=True)
    finally:
        os.close(lock)


def _held(draft: Path) -> int | None:
    """Hold a folder for this process; None where another one does, or no one can."""
    try:
        return hold(draft)
    except (BlockingIOError, FileNotFoundError):
        return None


def hold(folder: Path, wait_s: float = 0.0, shared: bool = False) -> int | None:
    """Hold a folder for this process and those that it forks, until all have ended or let go.

    What is held is what has this name in the end, not what had it before the wait. All that the
    caller knew of the folder before may be otherwise by then.

    Args:
        folder: to be held.
        shared: other processes may hold it too, if they share it likewise.
        wait_s: how long to wait for another process to let go: those of a run that was killed
            take some seconds to notice.

    Returns:
        What ``os.close`` lets go; None where the system or the disk knows no locks.

    Raises:
        BlockingIOError: if another process holds it.
        FileNotFoundError: if there is no such folder, or none any more.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        return None
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    until = time.monotonic() + wait_s
    while True:
        try:
            handle = os.open(folder, os.O_RDONLY)
        except FileNotFoundError:
            raise
        except OSError:
            return None
        try:
            fcntl.flock(handle, kind | fcntl.LOCK_NB)
            if same_file(handle, folder):
                return handle
            os.close(handle)  # another process renamed or removed it meanwhile
        except BlockingIOError:
            os.close(handle)
            if time.monotonic() > until:
                raise
            time.sleep(0.2)
        except OSError:  # a network folder without locks
            os.close(handle)
            return None


def same_file(handle: int, path: Path) -> bool:
    """Tell whether an open file or folder still has this name."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def set_aside(folder: Path, word: str, number: int = 1) -> Path:
    """Rename a folder, so that its name is free and nothing in it is lost.

    Args:
        folder: to be renamed.
        word: what its new name says, as ``attempt``.
        number: of the first name that is tried.

    Returns:
        Its new name.

    Raises:
        OSError: if it cannot be renamed.
    """
    while (aside := folder.with_name(f"{folder.name}.{word}{number}")).exists():
        number += 1
    folder.rename(aside)
    return aside
