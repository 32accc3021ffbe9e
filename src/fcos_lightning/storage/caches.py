"""Where things lie that can be had again or are remembered, and how processes share them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fcos_lightning.errors import UserError


def cache_folder() -> Path:
    """Return the folder for what can be had again: below ``XDG_CACHE_HOME`` or ~/.cache.

    Raises:
        UserError: if there is neither, as for a user whom the system does not know.
    """
    caches = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification: a path that is not absolute is to be ignored.
    if Path(caches).is_absolute():
        return Path(caches) / "fcos-lightning"
    try:
        return Path.home() / ".cache" / "fcos-lightning"
    except RuntimeError:
        raise UserError(
            "there is no home folder to keep what is drawn or fetched in: set XDG_CACHE_HOME or "
            "HOME to a folder that can be written, or data.root= for the drawn shapes"
        ) from None


def name_for(words: str) -> str:
    """Return what a folder of what belongs to some words, as an address, is called in a cache."""
    return hashlib.blake2b(words.encode(), digest_size=12).hexdigest()


def state_folder() -> Path | None:
    """Return the folder for what this machine has to remember: below ``XDG_STATE_HOME`` or ~.

    None: there is no home folder, and nothing is remembered.
    """
    states = os.environ.get("XDG_STATE_HOME", "")
    if Path(states).is_absolute():
        return Path(states) / "fcos-lightning"
    try:
        return Path.home() / ".local" / "state" / "fcos-lightning"
    except RuntimeError:
        return None


@contextmanager
def waiting_for(lock: Path) -> Iterator[None]:
    """Hold a lock that one process at a time can hold, and one thread of it; others wait.

    Where the system has no locks, as on some network folders, nobody waits: so what is done
    meanwhile must do no harm if it is done twice.

    Args:
        lock: an empty file, which is made; it stays.

    Raises:
        OSError: if it cannot be made.
    """
    with lock.open("ab") as file:
        with suppress(ImportError, OSError):
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)  # let go as the file is closed
        yield
