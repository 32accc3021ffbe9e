"""Losses of few of many rows: on a processor those alone are worked out.

What a box term costs is asked at the positives only, a few in a hundred points. How many they are
depends on the data, and a GPU would have to be waited for: there all rows are worked out, and what
does not count is masked.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from fcos_lightning.structures.on_device import known_at_once


def rows_that_count(counts: Tensor) -> Tensor | slice:
    """Return an index of rows, among them all of which ``counts``, ``[N]`` bool, is true.

    On a processor exactly those, as ``[n]`` int64; elsewhere, and where the step is compiled, all.
    """
    return counts.nonzero().squeeze(1) if known_at_once(counts) else slice(None)


def taken(values: Tensor, rows: Tensor | slice) -> Tensor:
    """Return the rows ``[n, ...]`` of ``[N, ...]``."""
    return values if isinstance(rows, slice) else values.index_select(0, rows)


def taken_of_each_image(values: Tensor, rows: Tensor | slice, images: int) -> Tensor:
    """Return the rows of what is the same in all images, ``[P, ...]``, of ``[images * P, ...]``."""
    if isinstance(rows, slice):
        return values.repeat(images, *[1] * (values.dim() - 1))
    return values.index_select(0, rows % max(len(values), 1))


def spread(values: Tensor, rows: Tensor | slice, shape: Sequence[int]) -> Tensor:
    """Return rows at their places in a tensor, 0 elsewhere.

    Args:
        values: ``[n, ...]``.
        rows: what ``rows_that_count`` gave for ``[N]``.
        shape: of what is returned: ``[N, ...]``, where the first dimension may be several.
    """
    if isinstance(rows, slice):
        return values.view(*shape)
    whole = values.new_zeros(shape)
    whole.view(-1, *values.shape[1:]).index_copy_(0, rows, values)
    return whole
