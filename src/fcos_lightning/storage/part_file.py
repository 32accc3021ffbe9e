"""A download that is not complete: ``NAME.part``, and which version of the remote file it is of.

``NAME.part.json`` beside it, the stamp, keeps the version, so that a later call can go on with it.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from fcos_lightning.storage.replacing import write_whole


@dataclass(frozen=True)
class Version:
    """Which version of a remote file a ``.part`` belongs to (RFC 9110, section 8.8)."""

    url: str
    etag: str | None = None
    last_modified: str | None = None

    @property
    def validator(self) -> str | None:
        """What If-Range may carry: a strong ETag, or else the date."""
        if self.etag and not self.etag.startswith("W/"):
            return self.etag
        return self.last_modified

    def differs(self, other: Version) -> bool:
        """Whether two answers that both name their version name different ones."""
        pairs = (self.etag, other.etag), (self.last_modified, other.last_modified)
        return any(mine and theirs and mine != theirs for mine, theirs in pairs)


def write_stamp(version: Version, stamp: Path) -> None:
    """Write down which version a part belongs to."""
    write_whole(json.dumps(asdict(version)), stamp)


def read_stamp(stamp: Path, url: str) -> Version | None:
    """Return which version of a remote file a part belongs to; None: of none that is known."""
    with suppress(OSError, ValueError, TypeError):
        version = Version(**json.loads(stamp.read_text(encoding="utf-8")))
        if version.url == url:
            return version
    return None


def start_over(file: IO[bytes], stamp: Path) -> None:
    """Empty a part, and forget which version it was of."""
    file.seek(0)
    file.truncate()
    stamp.unlink(missing_ok=True)


def remove_if_empty(part: Path, stamp: Path) -> None:
    """Remove a part without content: a server that refused leaves nothing worth keeping."""
    with suppress(OSError):
        if part.stat().st_size == 0:
            stamp.unlink(missing_ok=True)
            part.unlink()
