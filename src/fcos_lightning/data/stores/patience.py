"""Asking object storage again: it is busy, cuts a body short or goes away for a while."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from typing import TypeVar

from fcos_lightning.data.stores.addresses import clean
from fcos_lightning.data.stores.store import StoreError
from fcos_lightning.printing import first_line

#: After this long without an answer nobody waits any longer.
PATIENCE_S = 90.0
_FIRST_PAUSE_S = 0.25
_LONGEST_PAUSE_S = 8.0

#: What no second try mends.
_FINAL = (
    *(FileNotFoundError, PermissionError, NotADirectoryError, IsADirectoryError),
    *(ImportError, NotImplementedError),
)
#: Likewise; by name, as the libraries that raise them need not be installed.
_FINAL_NAMES = {
    *("NoCredentialsError", "PartialCredentialsError", "ParamValidationError", "InvalidURL"),
    *("CredentialRetrievalError", "NoRegionError", "ProfileNotFound", "DefaultCredentialsError"),
    *("GatedRepoError", "RepositoryNotFoundError", "InvalidRegionError"),
}
#: HTTP errors of the client that pass: a slow request, too early, too many.
_PASSING = {408, 425, 429}

Result = TypeVar("Result")


class CutShort(Exception):
    """Fewer bytes came than were asked for."""


def patiently(what: str, ask: Callable[[], Result]) -> Result:
    """Ask until there is an answer: for ``PATIENCE_S`` at most, with growing pauses.

    Args:
        what: is asked for, for messages: an address.
        ask: the question.

    Raises:
        StoreError: if it is refused for good, or there is no answer.
    """
    began = time.monotonic()
    pause = _FIRST_PAUSE_S
    while True:
        try:
            return ask()
        except StoreError:
            raise
        except Exception as error:  # each library of an object storage has its own
            waited = time.monotonic() - began
            if is_final(error):
                raise StoreError(f"{what}: {_reason(error)}") from None
            if waited + pause > PATIENCE_S:
                raise StoreError(
                    f"{what} gave no answer for {waited:.0f} s ({_reason(error)}): see that it can "
                    "be reached, and go on"
                ) from None
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE_S)


def is_final(error: Exception) -> bool:
    """Tell whether asking again cannot help."""
    # EINVAL: a part of an empty file.
    invalid = isinstance(error, OSError) and error.errno == errno.EINVAL
    if invalid or isinstance(error, _FINAL) or type(error).__name__ in _FINAL_NAMES:
        return True
    status = getattr(error, "status", None)
    return isinstance(status, int) and 400 <= status < 500 and status not in _PASSING


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    said = clean(first_line(error))[:200]
    if isinstance(error, PermissionError):
        return f"access is refused ({said or 'no reason given'})"
    kind = type(error).__name__
    return f"{kind}: {said}" if said else kind
