"""Where things lie that can be had again, and what a machine has to remember."""

from __future__ import annotations

import os
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
