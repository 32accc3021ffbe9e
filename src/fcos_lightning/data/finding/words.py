"""Names of files and sets in messages."""

from __future__ import annotations

from collections.abc import Sequence


def some_of(names: Sequence[str], most: int = 6) -> str:
    """Return the first names, each cut, for a message."""
    return ", ".join(name[:60] for name in names[:most]) + (", ..." if len(names) > most else "")
