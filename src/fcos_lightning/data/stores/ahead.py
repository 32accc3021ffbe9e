"""Brings shards from afar before they are asked for, while there is room for them."""

from __future__ import annotations

import atexit
import threading
import time
import weakref
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fcos_lightning.data.stores.shards import ShardStore
from fcos_lightning.data.stores.store import ImageStore
from fcos_lightning.errors import UserError

#: Shards that come at the same time: one alone waits for its answers most of the time.
_THREADS = 4
#: Of the cache; the rest is for what other runs and another split need.
SHARE = 0.8
#: A process that ends waits so long for what is on its way, so that no half of a file is left.
_PATIENCE_S = 3.0


def ahead_of(store: ImageStore) -> ShardsAhead | None:
    """Return what reads ahead of a store; None where that would bring nothing near."""
    if isinstance(store, ShardStore) and store.cache is not None:
        return ShardsAhead(store)
    return None


class ShardsAhead:
    """Brings the shards of coming batches into the cache, in the order they are asked for.

    What is needed no longer makes room: of the shards that were asked for and are not finished, and
    those brought ahead of them, there are never more than a share of the cache. An error is left to
    whoever needs the shard, as it may be gone by then.

    Args:
        store: whose shards are brought; it has a cache.
    """

    def __init__(self, store: ShardStore) -> None:
        assert store.cache is not None
        self._cache = store.cache
        self._shards = store.shards
        self._shard_of = store.rows.shard
        self._changed = threading.Condition()
        self._round = 0
        self._reached = 0
        self._order: list[int] = []
        self._last_use: dict[int, int] = {}
        self._held: set[int] = set()
        self._taken = 0
        self._threads: list[threading.Thread] = []
        _ALIVE.add(self)

    def begin(self, batches: Sequence[NDArray[np.int64]] | NDArray[np.int64]) -> int:
        """Take up the images of coming batches, see ``ReadsAhead``."""
        order: dict[int, None] = {}
        last_use: dict[int, int] = {}
        for number, batch in enumerate(batches):
            for shard in self._shard_of[batch].tolist():
                order.setdefault(shard)
                last_use[shard] = number
        with self._changed:
            self._round += 1
            self._order, self._last_use = list(order), last_use
            self._taken = self._reached = 0
            self._held = set()
            self._changed.notify_all()
        self._threads = [
            threading.Thread(target=self._work, args=(self._round,), name="read ahead", daemon=True)
            for _ in range(min(_THREADS, len(order)))
        ]
        for thread in self._threads:
            thread.start()
        return self._round

    def reached(self, batch: int) -> None:
        """Take note that a batch is being asked for, and with it all before."""
        with self._changed:
            self._reached = batch
            self._held = {shard for shard in self._held if self._last_use[shard] >= batch}
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

        while (shard := self._next(own_round)) is not None:
            try:
                self._cache.bring(self._shards[shard], stopped=is_over)
            except UserError:
                return

    def _next(self, own_round: int) -> int | None:
        """Wait until there is room for another shard, and return it; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._round != own_round or self._has_room())
            if self._round != own_round or self._taken == len(self._order):
                return None
            shard = self._order[self._taken]
            self._taken += 1
            self._held.add(shard)
            return shard

    def _has_room(self) -> bool:
        if self._taken == len(self._order):
            return True
        size = sum(self._shards[one].size for one in (*self._held, self._order[self._taken]))
        return not self._held or size <= SHARE * self._cache.most_bytes


_ALIVE: weakref.WeakSet[ShardsAhead] = weakref.WeakSet()


@atexit.register
def _end_all() -> None:
    until = time.monotonic() + _PATIENCE_S
    for one in list(_ALIVE):
        one.end()
    for one in list(_ALIVE):
        one.join(until)
