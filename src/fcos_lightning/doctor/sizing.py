"""Advice in numbers: image size, a finer level, size ranges, by assigning the boxes anew."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from fcos_lightning.data.splits import DataSplit
from fcos_lightning.detector.assigners.fcos import FCOSAssigner
from fcos_lightning.doctor.learning import Learning, Learnt, learnt, sample, shares_of_levels

#: So many images are assigned again at each size.
_MOST_IMAGES = 100
#: Factors of the image size that are tried.
_FACTORS = (0.5, 0.75, 1.0, 1.5, 2.0)
#: Of the boxes, so many have to be learnable; a size that loses no more than this is as good.
_ENOUGH, _AS_GOOD = 0.99, 0.002
#: Where images may be smaller, nine in ten boxes stay wider than so many of the finest strides.
_STRIDES_WIDE = 2
#: A level that answers for less is idle; one that answers for more does all the work.
_IDLE, _ALL_THE_WORK = 0.01, 0.85
_STEP_PX, _LARGEST_PX = 32, 2048


@dataclass(frozen=True)
class Tried:
    """What an image size would give.

    Attributes:
        shorter_side: in pixels.
        share: of the boxes that a point answers for.
        points: of a box, in the middle of all.
    """

    shorter_side: int
    share: float
    points: float


def sizes_tried(split: DataSplit, how: Learning) -> list[Tried]:
    """Assign the boxes of some images at several sizes, the smallest first."""
    images = sample(split, _MOST_IMAGES)
    tried = []
    for side in _sides(how.shorter_side):
        seen = learnt(split, how.at(side), images, ask_alone=False)
        tried.append(Tried(side, seen.share, _middle(seen)))
    return tried


def _sides(now: int) -> list[int]:
    sides = {max(_STEP_PX, round(now * factor / _STEP_PX) * _STEP_PX) for factor in _FACTORS}
    return sorted({side for side in sides if side <= max(_LARGEST_PX, now)} | {now})


def advice_on_sizes(
    split: DataSplit, how: Learning, now: Learnt, tried: Sequence[Tried]
) -> Iterator[str]:
    """Yield what to change, in sentences with their numbers.

    Args:
        split: to learn from.
        how: it would be trained.
        now: which boxes can be learnt so.
        tried: other sizes.
    """
    if not len(now.points):
        return
    yield from _on_size(how, now, tried)
    yield from _on_levels(split, how, now)
    yield from _on_ranges(how, now)


def _on_size(how: Learning, now: Learnt, tried: Sequence[Tried]) -> Iterator[str]:
    small = np.minimum(*now.sides.T)
    said = (
        f"at data.shorter_side={how.shorter_side} half of the boxes are narrower than "
        f"{np.median(small):.0f} px; {now.share:.1%} of {len(now.points)} have a point, "
        f"half of them {_middle(now):.0f} or more"
    )
    here = next(one for one in tried if one.shorter_side == how.shorter_side)
    smaller = [
        one
        for one in tried
        if one.shorter_side < here.shorter_side
        and one.share >= here.share - _AS_GOOD
        and now.share + one.share - here.share >= _ENOUGH
        and np.quantile(small, 0.1) * one.shorter_side / here.shorter_side
        >= _STRIDES_WIDE * how.finest
    ]
    larger = [
        one
        for one in tried
        if one.shorter_side > here.shorter_side and one.share > here.share + _AS_GOOD
    ]

    def share_at(size: Tried) -> float:
        # Sizes are tried on fewer images, on which even the size of now may do otherwise.
        return float(np.clip(now.share + size.share - here.share, 0, 1))

    if now.share < _ENOUGH and larger:
        enough = [one for one in larger if share_at(one) >= _ENOUGH]
        best = enough[0] if enough else max(larger, key=lambda one: one.share)
        yield f"{said}; data.shorter_side={best.shorter_side} would give {share_at(best):.1%} one"
    elif smaller and now.share >= _ENOUGH:
        least = smaller[0]
        saved = (here.shorter_side / least.shorter_side) ** 2
        yield (
            f"{said}; at data.shorter_side={least.shorter_side} it would be {share_at(least):.1%}, "
            f"and a step cost about 1/{saved:.1f}: try it where that matters"
        )
    else:
        yield said


def _on_levels(split: DataSplit, how: Learning, now: Learnt) -> Iterator[str]:
    """A level of half the finest stride, where it would be worth its cost."""
    lost = (now.points == 0) & ~now.alone
    if how.finer is None or lost.mean() < 1 - _ENOUGH:
        return
    images = sample(split, _MOST_IMAGES)
    finer = learnt(split, replace(how, grid=how.finer), images, ask_alone=False)
    before = learnt(split, how, images, ask_alone=False)
    if finer.share > before.share + _AS_GOOD:
        level = how.finest.bit_length() - 2
        yield (
            f"{int(lost.sum())} boxes lie between the points of stride {how.finest}; with a level "
            f"P{level}, of stride {how.finest // 2}, {finer.share:.1%} in place of "
            f"{before.share:.1%} have a point: model.fpn.levels={_levels(how.finer.strides)} "
            f"(about four times the points, so try a larger image first)"
        )


def _levels(strides: Sequence[int]) -> str:
    return f"[{','.join(str(stride.bit_length() - 1) for stride in strides)}]"


def _on_ranges(how: Learning, now: Learnt) -> Iterator[str]:
    """Which levels have nothing to do, and size ranges that share the boxes out."""
    strides = how.grid.strides
    shares = list(shares_of_levels(now.levels, strides))
    if len(strides) < 2 or not sum(now.levels.values()) or how.assigner.needs_prediction:
        return  # where the prediction decides, nobody knows yet
    idle = [f"P{stride.bit_length() - 1}" for stride, share in shares if share < _IDLE]
    busiest, most = max(shares, key=lambda pair: pair[1])
    if not idle and most < _ALL_THE_WORK:
        return
    spread = ", ".join(f"P{stride.bit_length() - 1} {share:.0%}" for stride, share in shares)
    said = f"points that answer for boxes: {spread}"
    if isinstance(how.assigner, FCOSAssigner) and most >= _ALL_THE_WORK:
        ends = [-1, *_quantiles(now.sides.max(axis=1), len(strides)), ".inf"]
        ranges = ",".join(f"[{low},{high}]" for low, high in pairwise(ends))
        said += (
            f"; P{busiest.bit_length() - 1} does nearly all the work: model.assigner.size_ranges="
            f"[{ranges}] would share the boxes out"
        )
    elif idle:
        have = "has" if len(idle) == 1 else "have"
        said += f"; {', '.join(idle)} {have} nothing to do, which costs little"
    yield said


def _quantiles(sides: NDArray[np.float64], parts: int) -> list[int]:
    """Return ends of ranges that each hold as many boxes, rounded, each above the one before."""
    ends: list[int] = []
    for part in range(1, parts):
        end = max(round(float(np.quantile(sides, part / parts)) / 8) * 8, 8)
        ends.append(max(end, ends[-1] + 8) if ends else end)
    return ends


def _middle(seen: Learnt) -> float:
    return float(np.median(seen.points)) if len(seen.points) else 0.0
