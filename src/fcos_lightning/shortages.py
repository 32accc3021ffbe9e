"""What the system refuses a command, as one line: space, memory, files, processes, permission."""

from __future__ import annotations

import errno
import os
import re

from fcos_lightning.errors import UserError
from fcos_lightning.printing import first_line

#: A full disk, an exceeded quota or file size limit, a file system that only reads.
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
_NO_PERMISSION = (errno.EACCES, errno.EPERM)
_NO_FILES = (errno.EMFILE, errno.ENFILE)
_NO_PROCESSES = (errno.EAGAIN,)
_NO_MEMORY = (errno.ENOMEM,)

#: What torch says of them, and threads; some without an error number.
_MEMORY_WORDS = (
    "out of memory", "can't allocate memory", "Cannot allocate memory", "not enough memory",
    "unable to mmap", "bad_alloc",
)  # fmt: skip
_FILES_WORDS = ("Too many open files", "too many fds")
_PROCESS_WORDS = ("can't start new thread", "Resource temporarily unavailable")
_LOADER = re.compile(
    r"DataLoader worker \(pid(?:\(s\))? [\d, ]+\) "
    r"(?:is killed by signal: (\w+)|exited unexpectedly)"
)


def shortage(error: BaseException) -> UserError | None:
    """Return what to tell the user if the system refused something; None for any other error."""
    if isinstance(error, UserError):
        return error
    loader = _LOADER.search(str(error)) if isinstance(error, RuntimeError) else None
    if loader is not None:
        how = f"was ended by the system ({loader[1]})" if loader[1] else "has ended without a word"
        return UserError(
            f"a process that reads the data {how}, mostly for want of memory; lower "
            "data.num_workers (0 reads in the command's own process) or data.batch_size"
        )
    code = _number(error)
    if code in _NO_ROOM:
        return UserError(
            f"cannot write {_place(error, 'to the disk')}: {os.strerror(code)}; free the place or "
            "choose another folder"
        )
    if code in _NO_PERMISSION:
        return UserError(
            f"{_place(error, 'a file')}: {os.strerror(code)}; let this user read and write it, or "
            "choose another place"
        )
    if code in _NO_FILES:
        return UserError(
            "too many open files for this process; raise the limit (ulimit -n), or lower "
            "data.num_workers"
        )
    if code in _NO_PROCESSES:
        return UserError(
            "the system starts no more processes or threads for this user; raise the limit "
            "(ulimit -u), or lower data.num_workers and OMP_NUM_THREADS"
        )
    if code in _NO_MEMORY:
        return UserError(
            "out of memory; lower data.batch_size, data.shorter_side or data.num_workers "
            f"({' '.join(first_line(error).split())[:120]})"
        )
    return None


def _number(error: BaseException) -> int | None:
    """Return the number of what the system refused, also where only words of it are left."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    if isinstance(error, MemoryError):
        return errno.ENOMEM
    if not isinstance(error, RuntimeError | OSError | ImportError):
        return None
    # Of an error in a loader process, torch hands on the traceback as text.
    said = str(error)
    for words, number in (
        (_FILES_WORDS, errno.EMFILE),
        (_MEMORY_WORDS, errno.ENOMEM),
        (_PROCESS_WORDS, errno.EAGAIN),
    ):
        if any(word in said for word in words):
            return number
    if said.startswith("Caught MemoryError"):
        return errno.ENOMEM
    for number in (*_NO_ROOM, *_NO_PERMISSION):
        if f"[Errno {number}]" in said:
            return number
    return None


def _place(error: BaseException, otherwise: str) -> str:
    return str(getattr(error, "filename", None) or otherwise)
