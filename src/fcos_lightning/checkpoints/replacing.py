"""Files that stand under their name only when they are whole."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Open a draft in a file's folder, which takes the file's place once it is on the disk.

    Whatever happens before, the file stays as it was and no draft is left; only a kill leaves one.
    """
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(draft, 0o666 & ~_umask())
        os.replace(draft, path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise


def _umask() -> int:
    """The process's umask, which can be read only by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def copy_whole(source: Path, target: Path) -> None:
    """Copy a file; the target is replaced whole or not at all."""
    with source.open("rb") as file, replacing(target) as draft:
        shutil.copyfileobj(file, draft)
