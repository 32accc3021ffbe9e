"""Boxes in rows, arrows from row to row: few crossings, none through a box.

The method is that of Sugiyama, Tagawa and Toda (IEEE SMC 11, 1981): an arrow over several rows gets
a narrow place in each row between, the rows are sorted by where their neighbours are, and then
every place moves as near to its neighbours as the others let it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

_SWEEPS = 40
_SPACE = 18.0  # between neighbours in a row
_THIN = 10  # the place of an arrow that passes through a row


@dataclass(frozen=True)
class Node:
    """A box.

    Attributes:
        name: of it.
        row: 0 at the bottom.
        width: in pixels.
        height: in pixels.
    """

    name: str
    row: int
    width: int
    height: int


@dataclass
class Place:
    """Where a box is, or where an arrow passes a row.

    Attributes:
        row: 0 at the bottom.
        width: in pixels.
        height: in pixels; where an arrow passes, that of the row.
        x: of its middle.
        y: of its top.
        above: places whose arrows come in.
        below: places that its arrows lead to.
    """

    row: int
    width: int
    height: int
    x: float = 0.0
    y: float = 0.0
    above: list[Place] = field(default_factory=list, repr=False)
    below: list[Place] = field(default_factory=list, repr=False)


def placed(
    nodes: Sequence[Node], arrows: Sequence[tuple[str, str]], row_gap: float, margin: float
) -> tuple[dict[str, Place], list[list[tuple[float, float]]]]:
    """Return the places of the boxes, and the points that each arrow leads through.

    Args:
        nodes: the boxes.
        arrows: pairs of names, each from a higher row to a lower one.
        row_gap: pixels between rows.
        margin: pixels to the left of all and above.
    """
    places = {node.name: Place(node.row, node.width, node.height) for node in nodes}
    rows: list[list[Place]] = [[] for _ in range(max(node.row for node in nodes) + 1)]
    for node in nodes:
        rows[node.row].append(places[node.name])
    chains = []
    for one, other in arrows:
        start, end = places[one], places[other]
        between = [Place(row, _THIN, 0) for row in range(start.row - 1, end.row, -1)]
        for place in between:
            rows[place.row].append(place)
        chain = [start, *between, end]
        for upper, lower in pairwise(chain):
            upper.below.append(lower)
            lower.above.append(upper)
        chains.append(chain)
    _sort(rows)
    _move(rows)
    left = min(place.x - place.width / 2 for row in rows for place in row)
    y = margin
    for row in reversed(rows):
        height = max(place.height for place in row)
        for place in row:
            place.x += margin - left
            place.height = place.height or height
            place.y = y + (height - place.height) / 2
        y += height + row_gap
    return places, [_way(chain) for chain in chains]


def _sort(rows: list[list[Place]]) -> None:
    """Order the places of each row so that few arrows cross."""
    best, fewest = [list(row) for row in rows], _crossings(rows)
    for sweep in range(_SWEEPS):
        down = sweep % 2 == 0
        for row in reversed(rows) if down else rows:
            at = {id(place): rank for other in rows for rank, place in enumerate(other)}
            ranks = {}
            for place in row:
                near = place.above if down else place.below
                shares = [at[id(one)] / max(len(rows[one.row]) - 1, 1) for one in near or [place]]
                ranks[id(place)] = _mean(shares)
            row.sort(key=lambda place: ranks[id(place)])
        if (now := _crossings(rows)) < fewest:
            best, fewest = [list(row) for row in rows], now
    for row, order in zip(rows, best, strict=True):
        row[:] = order


def _mean(numbers: list[float]) -> float:
    """The mean, the same for every version of Python: ties must not fall one way or another."""
    return round(math.fsum(numbers) / len(numbers), 6)


def _crossings(rows: list[list[Place]]) -> int:
    at = {id(place): rank for row in rows for rank, place in enumerate(row)}
    count = 0
    for row in rows:
        ends = [(at[id(place)], at[id(one)]) for place in row for one in place.below]
        count += sum(a < c and b > d for a, b in ends for c, d in ends)
    return count


def _move(rows: list[list[Place]]) -> None:
    """Give each place its x: near its neighbours, in its row's order, with space between."""
    for row in rows:
        x = 0.0
        for place in row:
            place.x = x + place.width / 2
            x += place.width + _SPACE
        for place in row:
            place.x -= x / 2
    for sweep in range(_SWEEPS):
        for row in reversed(rows) if sweep % 2 == 0 else rows:
            wanted = []
            for place in row:
                near = place.above + place.below
                wanted.append(_mean([one.x for one in near or [place]]))
            _spread(row, wanted)


def _spread(row: list[Place], wanted: list[float]) -> None:
    """Set the x of a row: the nearest to what is wanted, by least squares, that keeps the space.

    Places that want to overlap form a block, which lies where its members want it on average.
    """
    offset, offsets = 0.0, []
    for index, place in enumerate(row):
        if index:
            offset += (row[index - 1].width + place.width) / 2 + _SPACE
        offsets.append(offset)
    blocks: list[tuple[float, int]] = []  # mean of what is wanted less the offset, members
    for x, shift in zip(wanted, offsets, strict=True):
        mean, members = x - shift, 1
        while blocks and blocks[-1][0] > mean:
            before, number = blocks.pop()
            mean = (mean * members + before * number) / (members + number)
            members += number
        blocks.append((mean, members))
    means = [mean for mean, members in blocks for _ in range(members)]
    for place, mean, shift in zip(row, means, offsets, strict=True):
        place.x = mean + shift


def _way(chain: list[Place]) -> list[tuple[float, float]]:
    """The points of an arrow: upright through a row, spread along the edges of its boxes."""
    start, end = chain[0], chain[-1]
    way = [(_along(start, start.below, chain[1]), start.y + start.height)]
    for place in chain[1:-1]:
        way += [(place.x, place.y), (place.x, place.y + place.height)]
    return [*way, (_along(end, end.above, chain[-2]), end.y)]


def _along(box: Place, others: list[Place], other: Place) -> float:
    ordered = sorted(others, key=lambda place: place.x)
    rank = next(index for index, place in enumerate(ordered) if place is other)
    step = min(20.0, 0.8 * box.width / len(ordered))
    return box.x + (rank - (len(ordered) - 1) / 2) * step
