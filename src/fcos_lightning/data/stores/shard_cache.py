"""Shards from afar on this machine's disk: no more than a given size of them, for all processes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from fcos_lightning.data.stores.packed_index import Shard
from fcos_lightning.data.stores.places import Place
from fcos_lightning.data.stores.room import LOCK, Room, used
from fcos_lightning.data.stores.store import StoreError
from fcos_lightning.storage.bars import readable_size
from fcos_lightning.storage.caches import name_for, waiting_for
from fcos_lightning.storage.replacing import replacing

#: Of one answer: what is lost when a connection breaks.
PART_BYTES = 8 << 20


@dataclass(frozen=True)
class ShardCache:
    """Copies of shards below the user's cache folder, shared by the processes of a machine.

    A shard is brought by whoever needs it first; others wait for it. Where there is no room for
    it, those that nobody has used for the longest time go.

    Attributes:
        place: where the shards come from.
        folder: where the copies of this place are.
        room: that those of all places share.
    """

    place: Place
    folder: Path
    room: Room

    @classmethod
    def of(cls, place: Place, packing: str, most_bytes: int) -> ShardCache:
        """Return the cache of a place.

        Args:
            place: where the shards are.
            packing: tells what is packed there from what was there before.
            most_bytes: see ``Room``.
        """
        room = Room.of_user(most_bytes)
        return cls(place, room.root / name_for(f"{place.text}\n{packing}"), room)

    @property
    def most_bytes(self) -> int:
        """Of all copies."""
        return self.room.most_bytes

    def part(self, shard: Shard, start: int, stop: int) -> bytes:
        """Return some bytes of a shard, which is brought first if it is not here.

        Raises:
            StoreError: if it cannot be brought or kept.
        """
        path = self.folder / shard.name
        for _ in range(100):
            self.bring(shard)
            try:
                with path.open("rb") as file:
                    file.seek(start)
                    return file.read(stop - start)
            except FileNotFoundError:  # another run has needed the room since
                continue
            except OSError as error:
                raise StoreError(f"{path} cannot be read: {error.strerror}") from None
        raise StoreError(
            f"{shard.name} is taken out of {self.room.root} again and again before it is read: "
            "give a greater data.cache_gb, or a smaller data.shuffle_window"
        )

    def bring(self, shard: Shard, stopped: Callable[[], bool] = lambda: False) -> None:
        """See that a shard is here.

        Args:
            shard: which one.
            stopped: asked now and then whether it is not wanted any more.

        Raises:
            StoreError: if it cannot be brought or kept.
        """
        path = self.folder / shard.name
        try:
            if used(path, shard.size):
                return
            self.folder.mkdir(parents=True, exist_ok=True)
            with waiting_for(path.with_name(path.name + LOCK)):
                if used(path, shard.size):
                    return
                with (
                    suppress(_NotWanted),
                    ExitStack() as named,
                    replacing(path, durable=False) as draft,
                ):
                    self._fill(draft, shard, stopped)
                    # Nobody counts while it gets its name, who might see neither of the two.
                    named.enter_context(self.room.held())
        except OSError as error:
            raise StoreError(
                f"cannot keep {shard.name} ({readable_size(shard.size)}) in {self.folder}: "
                f"{error.strerror or error}; free space, or set XDG_CACHE_HOME to another folder"
            ) from None

    def forget(self, shard: Shard) -> None:
        """Take a shard out of the cache."""
        with suppress(OSError):
            (self.folder / shard.name).unlink(missing_ok=True)

    def _fill(self, draft: IO[bytes], shard: Shard, stopped: Callable[[], bool]) -> None:
        self.room.take(draft, shard.size)
        for start in range(0, shard.size, PART_BYTES):
            if stopped():
                raise _NotWanted
            stop = min(start + PART_BYTES, shard.size)
            draft.write(self.place.part(shard.name, start, stop))


class _NotWanted(Exception):
    """Nobody waits for a shard any longer."""
