"""Measuring two pieces of code that do the same work, side by side.

Times are of calls in turn, peer, ours, peer, ours, ..., so that a machine that becomes slower
becomes so for both, and the ratio of each pair is taken before the median.
"""

from __future__ import annotations

import ctypes
import gc
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fcos_lightning.extras import absent

Call = Callable[[], object]


@dataclass(frozen=True)
class Figure:
    """One line of the table: what ours and the peer needed, each time.

    Attributes:
        what: is measured, in a few words; the row's title comes before it.
        peer: whose code stands beside ours.
        unit: ``s``, ``MB`` or ``images/s``.
        ours: one value for each round.
        theirs: likewise.
        target: how many times better ours should be; None where nothing was asked.
        higher_is_better: as with images a second.
        absolute_target: what ours itself should reach, in the unit, beside or instead of a ratio.
    """

    what: str
    peer: str
    unit: str
    ours: Sequence[float]
    theirs: Sequence[float]
    target: float | None = None
    higher_is_better: bool = False
    absolute_target: float | None = None

    @property
    def ratios(self) -> list[float]:
        """How many times better ours was, for each round."""
        pairs = zip(self.ours, self.theirs, strict=True)
        if self.higher_is_better:
            return [ours / theirs for ours, theirs in pairs]
        return [theirs / ours for ours, theirs in pairs]

    @property
    def ratio(self) -> float | None:
        """The median of the ratios; None without a peer."""
        return statistics.median(self.ratios) if self.theirs else None


@dataclass(frozen=True)
class Growth:
    """How the cost of something grows: one curve for ours and one for the peer.

    Attributes:
        what: is measured.
        along: the name of what grows.
        sizes: its values.
        peer: whose code stands beside ours.
        ours_s: seconds at each size, medians.
        theirs_s: likewise; None where the peer was left out, with the reason in a note.
    """

    what: str
    along: str
    sizes: Sequence[float]
    peer: str
    ours_s: Sequence[float]
    theirs_s: Sequence[float | None]


@dataclass(frozen=True)
class Result:
    """What a row has measured.

    Attributes:
        figures: lines of the table.
        notes: sentences that stand below it: what was checked equal, what was tried.
        growths: curves of the picture.
    """

    figures: Sequence[Figure] = ()
    notes: Sequence[str] = ()
    growths: Sequence[Growth] = ()


def not_installed(*packages: str) -> str | None:
    """Say which package a row lacks, or None."""
    lacking = absent(*packages)
    return f"{lacking[0]} is not installed" if lacking else None


def alternate(
    ours: Call, peer: Call, rounds: int = 5, warmup: int = 1
) -> tuple[list[float], list[float]]:
    """Time both in turn; return the seconds of ours and of the peer, one for each round."""
    for _ in range(warmup):
        peer()
        ours()
    ours_s, peer_s = [], []
    for _ in range(rounds):
        peer_s.append(seconds(peer))
        ours_s.append(seconds(ours))
    return ours_s, peer_s


def seconds(call: Call) -> float:
    """Time one call; garbage is collected before it, not within it."""
    gc.collect()
    gc.disable()
    try:
        began = time.perf_counter()
        result = call()
        took = time.perf_counter() - began
        del result
    finally:
        gc.enable()
    return took


def peak_mb(call: Call) -> float:
    """Run a call and return by how many MB the process grew at most while it ran (Linux).

    The kernel's own count of resident memory, whose high-water mark is reset before the call.
    Memory that earlier calls left to the allocator is given back first, so that it does not hide
    what this one takes.
    """
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    before = _status_kb("VmRSS")
    result = call()
    peak = _status_kb("VmHWM")
    del result
    return max(peak - before, 0) / 1000


def rss_mb() -> float:
    """Return the resident memory of this process in MB (Linux)."""
    return _status_kb("VmRSS") / 1000


def _status_kb(key: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1])
    raise RuntimeError(f"/proc/self/status has no {key}")


def median(values: Sequence[float]) -> float:
    """Return the median."""
    return statistics.median(values)
