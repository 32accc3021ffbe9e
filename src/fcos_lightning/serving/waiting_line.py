"""Images that wait for the detector: a bounded line, batches, and the one thread that detects.

A batch holds images that are padded to one size, so that nobody's boxes depend on whose images came
at the same time: GroupNorm sees padding. The oldest image is always in the next batch.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import torch

from fcos_lightning.inference.prepared import Prepared
from fcos_lightning.serving.answers import Refused
from fcos_lightning.serving.counters import Counters
from fcos_lightning.serving.json_log import tell
from fcos_lightning.serving.limits import Limits
from fcos_lightning.structures import Detections

#: How much the newest batch counts in the time that an image is said to take.
_NEWEST = 0.2


class Detects(Protocol):
    """What of a ``Predictor`` is needed here."""

    def detected(self, images: Sequence[Prepared]) -> list[Detections]:
        """Return what is found in the images of a batch."""

    def padded_hw(self, image: Prepared) -> tuple[int, int]:
        """Return the size at which the detector sees an image that is alone in its batch."""


@dataclass(eq=False)
class _Waiting:
    image: Prepared
    padded_hw: tuple[int, int]
    found: Future[Detections] = field(default_factory=Future)
    since: float = field(default_factory=time.monotonic)


class WaitingLine:
    """Takes images on, as many as there are places, and has them looked at.

    Places are taken and left in the event loop's thread alone.

    Args:
        detector: is called in one thread of its own.
        limits: ``queue``, ``batch_size``, ``delay_ms`` and ``timeout_s`` count here.
        counters: are told of batches.
        s_per_image: that an image is said to take, until it is known better.
    """

    def __init__(
        self, detector: Detects, limits: Limits, counters: Counters, s_per_image: float = 0.0
    ) -> None:
        self._detector = detector
        self._limits = limits
        self._counters = counters
        self._taken = 0
        self._s_per_image = s_per_image
        self._line: deque[_Waiting] = deque()
        self._changed = threading.Condition()
        self._stopped = False
        self._thread = threading.Thread(target=self._work, name="detector", daemon=True)

    @property
    def taken(self) -> int:
        """How many places are taken."""
        return self._taken

    @property
    def is_working(self) -> bool:
        """Whether the detector's thread runs."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin to look at images."""
        self._thread.start()

    def stop(self) -> None:
        """Have the thread end after its batch; images that still wait are given up."""
        with self._changed:
            self._stopped = True
            self._changed.notify()

    def check_room(self, images: int = 1) -> None:
        """Refuse more images than there are places, or time, for.

        Raises:
            Refused: with status 429.
        """
        wait_s = self._taken * self._s_per_image
        again_s = max(1, math.ceil(min(wait_s, self._limits.timeout_s)))
        if self._taken + images > self._limits.queue:
            raise Refused(429, f"{self._limits.queue} images wait already; try again", again_s)
        if wait_s > self._limits.timeout_s:
            raise Refused(429, "those that wait already take all time there is; try again", again_s)

    @contextmanager
    def place(self) -> Iterator[None]:
        """Have a place for an image, until its answer or until nobody waits for one.

        Raises:
            Refused: with status 429.
        """
        self.check_room()
        self._taken += 1
        try:
            yield
        finally:
            self._taken -= 1

    async def detect(self, image: Prepared) -> Detections:
        """Return what is found in an image; one that is cancelled is not looked at any more.

        Raises:
            Refused: with status 500 if the detector failed on it.
        """
        one = _Waiting(image, self._detector.padded_hw(image))
        with self._changed:
            if self._stopped:
                raise Refused(503, "the server stops", 1)
            self._line.append(one)
            self._changed.notify()
        try:
            return await asyncio.wrap_future(one.found)
        finally:
            with self._changed:
                if one in self._line:
                    self._line.remove(one)

    def _work(self) -> None:
        while batch := self._next_batch():
            began = time.monotonic()
            self._look_at(batch)
            took = time.monotonic() - began
            self._counters.batch_images.observe(len(batch))
            self._counters.detect_seconds.observe(took)
            self._counters.images.inc(len(batch))
            each, before = took / len(batch), self._s_per_image
            self._s_per_image = _NEWEST * each + (1 - _NEWEST) * before if before else each
            del batch  # images may be large, and the next ones may be long in coming

    def _next_batch(self) -> list[_Waiting]:
        """Wait for images; none at all once it is stopped."""
        with self._changed:
            while True:
                while not self._line and not self._stopped:
                    self._changed.wait()
                if self._stopped:
                    for one in self._line:
                        if one.found.set_running_or_notify_cancel():
                            one.found.set_exception(Refused(503, "the server stops", 1))
                    self._line.clear()
                    return []
                first = self._line[0]
                left = first.since + self._limits.delay_ms / 1000 - time.monotonic()
                fitting = [one for one in self._line if one.padded_hw == first.padded_hw]
                if len(fitting) < self._limits.batch_size and left > 0:
                    self._changed.wait(left)
                    continue
                chosen = fitting[: self._limits.batch_size]
                for one in chosen:
                    self._line.remove(one)
                if wanted := [one for one in chosen if one.found.set_running_or_notify_cancel()]:
                    return wanted

    def _look_at(self, batch: Sequence[_Waiting]) -> None:
        """Detect; where that fails, one by one, so that an image fails by itself alone."""
        try:
            found = self._detector.detected([one.image for one in batch])
        except BaseException as error:
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            if len(batch) == 1:
                self._counters.failed.inc()
                tell(
                    logging.ERROR, "the detector failed", reason=f"{type(error).__name__}: {error}"
                )
                batch[0].found.set_exception(_failed(error))
                return
        else:
            for one, detections in zip(batch, found, strict=True):
                one.found.set_result(detections)
            return
        for one in batch:
            self._look_at([one])


def _failed(error: BaseException) -> Refused:
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or "memory" in str(error).lower():
        return Refused(500, "the server has too little memory for this image")
    return Refused(500, "the detector failed on this image; the server's log says why")
