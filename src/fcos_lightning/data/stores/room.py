"""Room on this machine's disk for what comes from object storage: one bound for all processes."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from fcos_lightning.storage.caches import cache_folder, waiting_for
from fcos_lightning.storage.replacing import DRAFT

#: Ends the names of files that processes hold, which are empty.
LOCK = ".lock"
#: A draft that nobody has written to for so long belongs to a process that was killed.
_ABANDONED_AFTER_S = 600.0


@dataclass(frozen=True)
class Room:
    """A folder of copies, which are no larger together than a given size.

    How much is taken is written down beside the folder, so that it is looked through only once
    that is too much: then those that nobody has used for the longest time go.

    Attributes:
        root: the folder, of the copies of all places.
        most_bytes: of all copies.
    """

    root: Path
    most_bytes: int

    @classmethod
    def of_user(cls, most_bytes: int) -> Room:
        """Return the one below the user's cache folder."""
        return cls(cache_folder() / "remote", most_bytes)

    def held(self) -> AbstractContextManager[None]:
        """Let nobody else count or take room for a while."""
        return waiting_for(self.root / LOCK)

    def take(self, draft: IO[bytes], size: int, slack: int = 0) -> None:
        """Let a draft below the folder have a size, and others go if need be.

        Args:
            draft: of a new copy, open and empty.
            size: what it will have in the end.
            slack: once some have to go, so much more room is made than is needed. Small copies
                would else have the folder looked through for each of them.

        Raises:
            OSError: if the disk does not want it.
        """
        with self.held():
            taken = self._written()
            if taken is None or taken + size > self.most_bytes:
                taken = self._make_room(size, slack)
            # Before the draft is large: were this the last thing done, too much would be counted.
            self._count.write_text(str(taken + size))
            draft.truncate(size)  # so that whoever looks through the folder sees what it will take

    @property
    def _count(self) -> Path:
        return self.root.with_name(f"{self.root.name}.size")

    def _written(self) -> int | None:
        try:
            return max(0, int(self._count.read_text()))
        except (OSError, ValueError):
            return None

    def _make_room(self, needed: int, slack: int) -> int:
        """Remove what has to go, and return how much is left."""
        ages: list[float] = []
        sizes: list[int] = []
        drafts = 0
        for _, about, is_draft in self._files():
            if is_draft:
                drafts += about.st_size
            else:
                ages.append(about.st_mtime)
                sizes.append(about.st_size)
        taken = drafts + sum(sizes)
        if taken + needed <= self.most_bytes:
            return taken
        excess = taken + needed + slack - self.most_bytes
        order = np.argsort(np.array(ages), kind="stable")
        freed = np.cumsum(np.array(sizes, dtype=np.int64)[order])
        last = int(np.searchsorted(freed, excess))
        newest = ages[order[min(last, len(order) - 1)]] if len(order) else 0.0
        # Times alone were kept, as the names of a million files are much for one process.
        for older in (True, False):
            for path, about, is_draft in self._files():
                if excess <= 0:
                    return taken
                fits = about.st_mtime < newest if older else about.st_mtime == newest
                if fits and not is_draft:
                    with suppress(OSError):
                        os.unlink(path)
                        excess -= about.st_size
                        taken -= about.st_size
        return taken

    def _files(self) -> Iterator[tuple[str, os.stat_result, bool]]:
        """Yield path, state and whether it is a draft of each copy; dead drafts are removed."""
        for folder, _, names in os.walk(self.root):
            for name in names:
                if name.endswith(LOCK):
                    continue
                path = os.path.join(folder, name)
                with suppress(OSError):  # it has just gone, or got its name
                    about = os.stat(path)
                    is_draft = name.endswith(DRAFT)
                    if is_draft and time.time() - about.st_mtime > _ABANDONED_AFTER_S:
                        os.unlink(path)
                        continue
                    yield path, about, is_draft


def used(path: str | Path, size: int) -> bool:
    """Tell whether a whole copy is there, and note that it was used."""
    try:
        if os.stat(path).st_size != size:
            return False
        os.utime(path)
    except FileNotFoundError:
        return False
    return True
