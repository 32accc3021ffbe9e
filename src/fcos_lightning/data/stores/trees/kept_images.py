"""Images from object storage on this machine's disk, each a file of its own, for all processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from fcos_lightning.data.stores.loose import digest_of
from fcos_lightning.data.stores.places import RemotePlace
from fcos_lightning.data.stores.room import LOCK, Room, used
from fcos_lightning.data.stores.store import StoreError
from fcos_lightning.data.stores.trees.listing import Listed
from fcos_lightning.data.stores.trees.objects import read_object
from fcos_lightning.storage.bars import readable_size
from fcos_lightning.storage.caches import name_for, waiting_for
from fcos_lightning.storage.replacing import replacing

#: Behind an image in its file: what tells it from a damaged one.
_DIGEST_BYTES = 16
#: Once there is no room, so much of all is made: looking through the cache takes a while.
_SLACK = 1 / 16


@dataclass(frozen=True)
class KeptImages:
    """Copies of images below the user's cache folder, shared by the processes of a machine.

    An image is brought by whoever needs it first; others wait for it. What it is called there
    depends on its version, so that one that changes is another image.

    Attributes:
        place: where the images come from.
        folder: where the copies of this place are.
        room: that those of all places share.
    """

    place: RemotePlace
    folder: Path
    room: Room

    @classmethod
    def of(cls, place: RemotePlace, most_bytes: int) -> KeptImages:
        """Return the copies of a place.

        Args:
            place: where the images are.
            most_bytes: see ``Room``.
        """
        room = Room.of_user(most_bytes)
        return cls(place, room.root / name_for(place.text), room)

    @property
    def most_bytes(self) -> int:
        """Of all copies."""
        return self.room.most_bytes

    def read(self, one: Listed) -> bytes:
        """Return an image, which is brought first if it is not here.

        Raises:
            NotAsListed: if it is gone or another one by now.
            StoreError: if it cannot be brought or kept.
        """
        path = self._path(one)
        content = self._kept(path, one)
        return self._brought(path, one) if content is None else content

    def bring(self, one: Listed, stopped: Callable[[], bool] = lambda: False) -> None:
        """See that an image is here.

        Args:
            one: which one.
            stopped: asked whether it is not wanted any more.

        Raises:
            NotAsListed: if it is gone or another one by now.
            StoreError: if it cannot be brought or kept.
        """
        path = self._path(one)
        if not stopped() and not used(path, one.size + _DIGEST_BYTES):
            self._brought(path, one)

    def has(self, one: Listed) -> bool:
        """Tell whether an image is here."""
        return used(self._path(one), one.size + _DIGEST_BYTES)

    def _path(self, one: Listed) -> Path:
        # A folder with a million files is slow on some disks.
        return self.folder / one.key[:3] / one.key[3:]

    def _kept(self, path: Path, one: Listed) -> bytes | None:
        """Return the content of a copy; None where there is none, or it is damaged."""
        with suppress(OSError):
            if used(path, one.size + _DIGEST_BYTES):
                whole = path.read_bytes()
                content = whole[:-_DIGEST_BYTES]
                if digest_of(content) == whole[-_DIGEST_BYTES:]:
                    return content
                path.unlink(missing_ok=True)
        return None

    def _brought(self, path: Path, one: Listed) -> bytes:
        size = one.size + _DIGEST_BYTES
        with self._cannot_keep(one):
            path.parent.mkdir(parents=True, exist_ok=True)
            # One of 256 for many images: a file for each would stay behind.
            lock = self.folder / f"{one.key[:2]}{LOCK}"
            with waiting_for(lock):
                content = self._kept(path, one)
                if content is not None:
                    return content
                content = read_object(self.place, one)
                if size <= self.most_bytes:
                    with ExitStack() as named, replacing(path, durable=False) as draft:
                        self.room.take(draft, size, round(_SLACK * self.most_bytes))
                        draft.write(content)
                        draft.write(digest_of(content))
                        # Nobody counts while it gets its name, who might see neither of the two.
                        named.enter_context(self.room.held())
        return content

    @contextmanager
    def _cannot_keep(self, one: Listed) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreError(
                f"cannot keep {one.name} ({readable_size(one.size)}) in {self.folder}: "
                f"{error.strerror or error}; free space, or set XDG_CACHE_HOME to another folder"
            ) from None
