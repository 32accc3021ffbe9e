"""Where the lines and marks of a chart go; the template draws them as inline SVG.

Lines are in units of the chart, from its top left corner at (0, 0) to its bottom right at (1, 1),
so that neither the template nor a script needs to know its size.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any


def line_chart(
    series: Sequence[Mapping[str, Any]],
    x_range: tuple[float, float] | None = None,
    y_range: tuple[float, float] | None = None,
) -> dict[str, Any]:
    """Return what a line chart is drawn of.

    Args:
        series: each with ``name``, ``x`` and ``y``; None in ``y`` is left out.
        x_range: of the axis; None: that of the data.
        y_range: likewise; None: from 0, or from the least value where that is below.

    Returns:
        ``lines`` (name, points and, for a single point, where it is) and ``x_ticks`` and
        ``y_ticks`` (place from 0 to 1, label).
    """
    xs = [x for one in series for x, y in _known(one)]
    ys = [y for one in series for x, y in _known(one)]
    left, right = x_range or _stretched(min(xs, default=0.0), max(xs, default=1.0))
    bottom, top = y_range or _stretched(min(0.0, *ys, 0.0), max(ys, default=1.0))
    lines = []
    for one in series:
        points = [
            ((x - left) / (right - left), 1 - (y - bottom) / (top - bottom)) for x, y in _known(one)
        ]
        lines.append(
            {
                "name": one["name"],
                "points": " ".join(f"{x:.4g},{y:.4g}" for x, y in points),
                "alone": points[0] if len(points) == 1 else None,
                "last": _known(one)[-1][1] if points else None,
            }
        )
    return {
        "lines": lines,
        "x_ticks": [((t - left) / (right - left), _label(t)) for t in _ticks(left, right)],
        "y_ticks": [(1 - (t - bottom) / (top - bottom), _label(t)) for t in _ticks(bottom, top)],
    }


def _known(one: Mapping[str, Any]) -> list[tuple[float, float]]:
    return [(x, y) for x, y in zip(one["x"], one["y"], strict=True) if y is not None]


def _stretched(low: float, high: float) -> tuple[float, float]:
    return (low, high) if high > low else (low, low + 1.0)


def _ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Return round numbers within a range."""
    step = 10.0 ** math.floor(math.log10((high - low) / most))
    step *= next(factor for factor in (1, 2, 5, 10) if (high - low) / (step * factor) <= most)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def _label(value: float) -> str:
    if value and not 1e-3 <= abs(value) < 1e5:
        return f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e")
    return f"{value:,.6g}"
