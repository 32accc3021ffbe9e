"""Which errors of libraries and the system are the user's to mend, and the one line that says how.

A run meets its first image, disk and device long after its settings were checked, and Lightning
checks some of them only then. What it raises of its own accord is about what it was given; what is
raised by our own code, or by the user's, is a fault, whose traceback is worth more than a line.
"""

from __future__ import annotations

import errno
import os
import re
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from omegaconf.errors import OmegaConfBaseException

from fcos_lightning.errors import UserError
from fcos_lightning.printing import first_line, printable

#: Where an error says nothing of what a user could do, but the system's own words do.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
_CLOSED = (errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR)
_FEW_HANDLES = (errno.EMFILE, errno.ENFILE)
#: Of threads, Python says it in words.
_NO_PROCESSES = re.compile(r"can't start new thread|Resource temporarily unavailable")
#: Of a file that a library opens, only words are left: torch, and errors of loader processes.
_NO_HANDLES = re.compile(r"Too many open files|too many fds|received 0 items of ancdata")

#: What torch and OpenCV say when memory ends; they have no class of errors for it.
_NO_MEMORY = re.compile(
    r"DefaultCPUAllocator|CUDA out of memory|Insufficient memory|unable to mmap|bad_alloc"
    r"|Cannot allocate memory|failed to map segment"
)

_OURS, _LIGHTNING = "fcos_lightning", ("lightning", "lightning_fabric", "lightning_utilities")


@contextmanager
def refusals_in_one_line(trusted: Sequence[str] = ()) -> Iterator[None]:
    """Raise what the user can mend as a ``UserError``, and all else as it is.

    Args:
        trusted: packages of the user's own, whose errors keep their traceback.

    Raises:
        UserError: with the error that it stands for as its cause.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        refused = refusal(error, trusted)
        if refused is None:
            raise
        raise refused from error


def refusal(error: Exception, trusted: Sequence[str] = ()) -> UserError | None:
    """Return the line for an error that the user can mend; None: it is a fault of some code.

    Args:
        error: as it was raised.
        trusted: packages of the user's own.
    """
    if isinstance(error, UserError):
        return error
    if isinstance(error, OmegaConfBaseException):
        return UserError(f"configuration: {first_line(error)}")
    if _wants_memory(error):
        return UserError(
            f"too little memory ({printable(_told(error), 120)}); give smaller batches "
            "(data.batch_size=, or batch_size= of fcos-predict) or smaller images "
            "(shorter_side and longer_side)"
        )
    if isinstance(error, RuntimeError):
        # Imported here, because torch costs seconds that mistakes in words should not.
        from fcos_lightning.data.batches.loader import ended_loader

        ended = ended_loader(error)
        if ended is not None:
            return ended
    if isinstance(error, RuntimeError | OSError):
        if _NO_HANDLES.search(str(error)):
            return _of_system(OSError(errno.EMFILE, os.strerror(errno.EMFILE)))
        if _NO_PROCESSES.search(str(error)):
            return UserError(
                "the system starts no more processes or threads for this user: raise the limit "
                "(ulimit -u), or give a smaller data.num_workers= and OMP_NUM_THREADS"
            )
    if isinstance(error, OSError) and error.errno is not None:
        return _of_system(error)
    if _raised_by_lightning(error, trusted):
        return UserError(f"Lightning refuses these settings: {_first_sentences(_told(error))}")
    return None


def _wants_memory(error: Exception) -> bool:
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return _NO_MEMORY.search(str(error)) is not None


def _of_system(error: OSError) -> UserError | None:
    told = error.strerror or os.strerror(error.errno or 0)
    if error.errno in _FULL:
        return UserError(f"cannot write {error.filename or 'to the disk'}: {told}")
    if error.errno in _CLOSED:
        return UserError(f"cannot open {error.filename or 'a file'}: {told}; give another place")
    if error.errno in _FEW_HANDLES:
        return UserError(
            f"{told}: raise the limit (ulimit -n 4096), or give a smaller data.num_workers="
        )
    return None


def _raised_by_lightning(error: Exception, trusted: Sequence[str]) -> bool:
    """Tell whether, of Lightning, our code and the user's, Lightning is nearest to the error."""
    for frame, _ in reversed(list(traceback.walk_tb(error.__traceback__))):
        package = str(frame.f_globals.get("__name__", "")).split(".")[0]
        if package in (_OURS, "__main__", *trusted):
            return False
        if package in _LIGHTNING:
            return True
    return False


def _first_sentences(text: str, room: int = 250) -> str:
    """Return as many whole sentences as there is room for; all of it if not even one fits."""
    if len(text) <= room:
        return text
    ends = [match.end() for match in re.finditer(r"[.!?](?= [A-Z])", text)]
    return text[: max((end for end in ends if end <= room), default=len(text))]


def _told(error: Exception) -> str:
    """Return an error's message in one line, with its kind where the message needs it."""
    text = " ".join(str(error).split())
    plain = type(error).__name__ in ("MisconfigurationException", "ValueError", "RuntimeError")
    return text if plain and text else f"{type(error).__name__}: {text}".removesuffix(": ")
