"""Brings from afar what is going to be asked for, while there is room for it."""

from __future__ import annotations

import atexit
import threading
import time
import weakref
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from fcos_lightning.data.stores.shards import ShardStore
from fcos_lightning.data.stores.store import ImageStore, StoreError
from fcos_lightning.data.stores.trees.remote_images import RemoteImages
from fcos_lightning.errors import UserError

#: Shards, and images, that come at the same time: one waits for its answers most of the time.
_SHARDS_AT_A_TIME, _IMAGES_AT_A_TIME = 4, 16
#: Of the cache; the rest is for what other runs and another split need.
SHARE = 0.8
#: Likewise, of images. They go in the order of their last use, and what was used while others
#: were brought is younger than these: it needs as much room again.
_SHARE_OF_IMAGES = 0.4
#: A process that ends waits so long for what is on its way, so that no half of a file is left.
_PATIENCE_S = 3.0
#: Images that are read one after the other are asked for so many at a time.
_IN_A_ROW = 64


def ahead_of(store: ImageStore) -> Ahead | None:
    """Return what reads ahead of a store; None where that would bring nothing near."""
    if isinstance(store, ShardStore) and store.cache is not None:
        shards, shard_cache = store.shards, store.cache
        return Ahead(
            store.rows.shard,
            np.array([one.size for one in shards], dtype=np.int64),
            lambda shard, stopped: shard_cache.bring(shards[shard], stopped),
            round(SHARE * shard_cache.most_bytes),
            _SHARDS_AT_A_TIME,
        )
    if isinstance(store, RemoteImages) and store.cache is not None:
        cache = store.cache
        return Ahead(
            np.arange(len(store.names)),
            store.sizes,
            lambda image, stopped: cache.bring(store.listed(image), stopped),
            round(_SHARE_OF_IMAGES * cache.most_bytes),
            _IMAGES_AT_A_TIME,
        )
    return None


def in_a_row(store: ImageStore, images: int) -> Iterator[NDArray[np.int64]]:
    """Yield the positions of all images of a store, some at a time, and read ahead of them.

    Args:
        store: where they are.
        images: how many there are.
    """
    batches = np.split(np.arange(images), range(_IN_A_ROW, images, _IN_A_ROW))
    ahead = ahead_of(store)
    begun = None if ahead is None else ahead.begin(batches)
    try:
        for number, batch in enumerate(batches):
            if ahead is not None:
                ahead.reached(number)
            yield batch
    finally:
        if ahead is not None:
            ahead.end(begun)


class Ahead:
    """Brings what the images of coming batches are in, in the order it is asked for.

    What is needed no longer makes room: of the parts that were asked for and are not finished, and
    those brought ahead of them, there is never more than a given size. An error is left to whoever
    needs the part, as it may be gone by then.

    Legend: ``N`` images, ``P`` parts: shards, or the images themselves.

    Args:
        part_of: ``[N]`` the part that each image is in.
        sizes: ``[P]`` int64, bytes.
        bring: sees that a part is here; it may ask now and then whether it is still wanted.
        most_bytes: of what is brought and not finished.
        at_a_time: how many come at the same time.
    """

    def __init__(
        self,
        part_of: NDArray[np.integer],
        sizes: NDArray[np.int64],
        bring: Callable[[int, Callable[[], bool]], None],
        most_bytes: int,
        at_a_time: int,
    ) -> None:
        self._part_of = part_of
        self._sizes = sizes
        self._bring = bring
        self._most_bytes = most_bytes
        self._at_a_time = at_a_time
        self._changed = threading.Condition()
        self._round = 0
        self._order: list[int] = []
        self._last_use: dict[int, int] = {}
        #: Of the parts that were taken up, those that are finished with each batch.
        self._finished_with: dict[int, list[int]] = defaultdict(list)
        self._reached = self._taken = self._held = self._held_bytes = 0
        self._threads: list[threading.Thread] = []
        _ALIVE.add(self)

    def begin(self, batches: Sequence[NDArray[np.int64]] | NDArray[np.int64]) -> int:
        """Take up the images of coming batches, see ``ReadsAhead``."""
        order: dict[int, None] = {}
        last_use: dict[int, int] = {}
        for number, batch in enumerate(batches):
            for part in self._part_of[batch].tolist():
                order.setdefault(part)
                last_use[part] = number
        with self._changed:
            self._round += 1
            self._order, self._last_use = list(order), last_use
            self._taken = self._reached = self._held = self._held_bytes = 0
            self._finished_with.clear()
            self._changed.notify_all()
        self._threads = [
            threading.Thread(target=self._work, args=(self._round,), name="read ahead", daemon=True)
            for _ in range(min(self._at_a_time, len(order)))
        ]
        for thread in self._threads:
            thread.start()
        return self._round

    def reached(self, batch: int) -> None:
        """Take note that a batch is being asked for, and with it all before."""
        with self._changed:
            for before in range(self._reached, batch):
                for part in self._finished_with.pop(before, ()):
                    self._held -= 1
                    self._held_bytes -= int(self._sizes[part])
            self._reached = max(self._reached, batch)
            self._changed.notify_all()

    def end(self, number: int | None = None) -> None:
        """Bring nothing more of what has this number, or of anything."""
        with self._changed:
            if number in (None, self._round):
                self._round += 1
                self._changed.notify_all()

    def join(self, until: float) -> None:
        """Wait until nothing is on its way any more, or for a time of ``time.monotonic()``."""
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    def _work(self, own_round: int) -> None:
        def is_over() -> bool:
            return self._round != own_round

        while (part := self._next(own_round)) is not None:
            try:
                self._bring(part, is_over)
            except StoreError:
                return
            except UserError:
                continue  # of this one alone

    def _next(self, own_round: int) -> int | None:
        """Wait until there is room for another part, and return it; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._round != own_round or self._has_room())
            if self._round != own_round or self._taken == len(self._order):
                return None
            part = self._order[self._taken]
            self._taken += 1
            # What was asked for before it was taken up is held until the next batch.
            last_use = max(self._last_use[part], self._reached)
            self._finished_with[last_use].append(part)
            self._held += 1
            self._held_bytes += int(self._sizes[part])
            return part

    def _has_room(self) -> bool:
        if self._taken == len(self._order):
            return True
        size = self._held_bytes + int(self._sizes[self._order[self._taken]])
        return not self._held or size <= self._most_bytes


_ALIVE: weakref.WeakSet[Ahead] = weakref.WeakSet()


@atexit.register
def _end_all() -> None:
    until = time.monotonic() + _PATIENCE_S
    for one in list(_ALIVE):
        one.end()
    for one in list(_ALIVE):
        one.join(until)
