"""Which image files are the same, and which look the same.

Legend: ``N`` images of all sets, one set after the other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fcos_lightning.doctor.check import ExaminedSet

    #: A set and the position of an image in it.
    Place = tuple[ExaminedSet, int]

#: Hashes that differ in more bits are of other pictures.
_MOST_BITS = 6
#: Any two hashes that differ in fewer bits agree in one of so many parts.
_PARTS = 5
#: Grey copies of the same picture go along with each other so closely, and differ by so little.
_LEAST_CORRELATION, _MOST_DIFFERENCE = 0.985, 10.0
#: Of pictures that all have one part of the hash, so many are compared with each other.
_MOST_ALIKE = 400


def same_files(sets: Sequence[ExaminedSet]) -> list[list[Place]]:
    """Return groups of files of the same bytes."""
    groups: dict[bytes, list[Place]] = defaultdict(list)
    for one in sets:
        if one.facts is not None:
            known = np.flatnonzero(one.facts.digest.any(axis=1)).tolist()
            for image in known:
                groups[one.facts.digest[image].tobytes()].append((one, image))
    return [group for group in groups.values() if len(group) > 1]


def alike_pictures(sets: Sequence[ExaminedSet]) -> list[list[Place]]:
    """Return groups of pictures that look alike, of each file but one copy."""
    places: list[Place] = []
    told: set[bytes] = set()
    for one in sets:
        if one.facts is None:
            continue
        for image in np.flatnonzero(one.facts.seen & ~one.facts.blank).tolist():
            digest = one.facts.digest[image].tobytes()
            if digest not in told:
                told.add(digest)
                places.append((one, image))
    if len(places) < 2:
        return []
    facts = [(one.facts, image) for one, image in places]
    hashes = np.array([one.hashes[image] for one, image in facts if one], dtype=np.uint64)
    small = np.stack([one.small[image] for one, image in facts if one])
    return [[places[row] for row in group] for group in groups_alike(hashes, small)]


def groups_alike(hashes: NDArray[np.uint64], small: NDArray[np.uint8]) -> list[list[int]]:
    """Return groups of pictures that look alike, each with its rows ascending.

    Hashes that differ in few bits agree in one of a few parts, so that only pictures that have a
    part in common are compared (as in Manku et al., "Detecting Near-Duplicates for Web Crawling",
    2007, section 3); of those, small grey copies decide.

    Args:
        hashes: ``[N]``, see ``perceptual_hash``.
        small: ``[N, S, S]`` grey copies.
    """
    above = np.arange(len(hashes))

    def root(row: int) -> int:
        while above[row] != row:
            above[row] = above[above[row]]
            row = int(above[row])
        return row

    for rows, others in _candidates(hashes):
        for row, other in zip(rows.tolist(), others.tolist(), strict=True):
            first, second = sorted((root(row), root(other)))
            if first != second and same_picture(small[row], small[other]):
                above[second] = first
    groups: dict[int, list[int]] = defaultdict(list)
    for row in range(len(hashes)):
        groups[root(row)].append(row)
    return [group for group in groups.values() if len(group) > 1]


def _candidates(
    hashes: NDArray[np.uint64],
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield pairs of rows whose hashes differ in few bits."""
    edges = [64 * part // _PARTS for part in range(_PARTS + 1)]
    for low, high in pairwise(edges):
        part = (hashes >> np.uint64(low)) & np.uint64((1 << (high - low)) - 1)
        order = np.lexsort((hashes, part))
        starts = np.flatnonzero(np.r_[True, np.diff(part[order]) != 0, True])
        for start, end in pairwise(starts.tolist()):
            rows = order[start:end]
            for place in range(len(rows) - 1):
                others = rows[place + 1 : place + 1 + _MOST_ALIKE]
                bits = _differing_bits(hashes[others], hashes[rows[place]])
                near = others[bits <= _MOST_BITS]
                if len(near):
                    yield np.full(len(near), rows[place]), near


def same_picture(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> bool:
    """Tell whether two grey copies of one size are of the same picture."""
    first, second = one.astype(np.float64), other.astype(np.float64)
    if np.abs(first - second).mean() > _MOST_DIFFERENCE:
        return False
    first, second = first - first.mean(), second - second.mean()
    product = float(np.sqrt((first**2).sum() * (second**2).sum()))
    return product > 0 and float((first * second).sum()) / product >= _LEAST_CORRELATION


def _differing_bits(hashes: NDArray[np.uint64], other: np.uint64) -> NDArray[np.int64]:
    # numpy counts bits itself since version 2 alone.
    octets = (hashes ^ other).view(np.uint8).reshape(-1, 8)
    bits: NDArray[np.int64] = np.unpackbits(octets, axis=1).sum(axis=1)
    return bits
