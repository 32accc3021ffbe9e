"""``comparison.html``, with its numbers in ``comparison.json`` beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fcos_lightning.data.splits import DataSplit
from fcos_lightning.errors import UserError
from fcos_lightning.reports.charts import line_chart
from fcos_lightning.reports.compare.numbers import ComparedRun, comparison_numbers
from fcos_lightning.reports.page import json_text, page
from fcos_lightning.reports.pictures import picture_uri
from fcos_lightning.storage.replacing import write_whole

PAGE, NUMBERS = "comparison.html", "comparison.json"


def write_comparison(
    folder: Path,
    split: DataSplit,
    runs: Sequence[ComparedRun],
    title: str,
    resamples: int = 1000,
    seed: int = 0,
    advance: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Write the comparison of runs into a folder, the page last.

    Args:
        folder: is there.
        split: that all were measured on.
        runs: two or more; the others are held against the first.
        title: for the heading.
        resamples: how often images are drawn.
        seed: of the draws.
        advance: called ``resamples`` times for each run.

    Returns:
        The numbers.

    Raises:
        UserError: if a file cannot be written.
    """
    numbers = comparison_numbers(split.truth, runs, split.name, resamples, seed, advance)
    wanted = sorted({image["number"] for image in numbers["shown"]})
    pictures = {number: _picture(split, number) for number in wanted}
    write_whole(json_text(numbers), folder / NUMBERS)
    write_whole(comparison_page(numbers, pictures, title), folder / PAGE)
    return numbers


def comparison_page(
    numbers: Mapping[str, Any], pictures: Mapping[int, str | None], title: str
) -> str:
    """Return the page.

    Args:
        numbers: of the comparison.
        pictures: of the images that are shown, as addresses; None for one that cannot be read.
        title: for the heading.
    """
    names = [run["name"] for run in numbers["runs"]]

    def over_each_other(curves: Mapping[str, Any], x: str) -> dict[str, Any]:
        lines = [
            {"name": name, "x": curves[x], "y": values or [None] * len(curves[x])}
            for name, values in zip(names, curves["runs"], strict=True)
        ]
        return line_chart(lines, (0, 1), (0, 1))

    return page(
        "compare.html",
        ("boxes.js", "compare.js"),
        {**numbers, "course": None},  # drawn already
        title=title,
        names=names,
        pictures={
            image["number"]: {
                "address": pictures[image["number"]],
                "width": image["width"],
                "height": image["height"],
            }
            for image in numbers["shown"]
        },
        forest=_forest(numbers),
        precision_recall=over_each_other(numbers["precision_recall"], "recall"),
        F1=over_each_other(numbers["F1"], "thresholds"),
        course=[
            {
                "name": chart["name"],
                "unit": chart["unit"],
                "chart": line_chart(
                    [
                        {"name": names[one["run"]], "x": one["steps"], "y": one["values"]}
                        for one in chart["series"]
                    ]
                ),
                "colours": [one["run"] for one in chart["series"]],
            }
            for chart in numbers["course"]
        ],
    )


def _picture(split: DataSplit, image: int) -> str | None:
    try:
        return picture_uri(split.image(image))
    except UserError:
        return None  # the page says so in its place


def _forest(numbers: Mapping[str, Any]) -> dict[str, Any]:
    """Where the intervals of AP lie on a line from the lowest to the highest bound."""
    rows = [run["figures"]["AP"] for run in numbers["runs"]]
    known = [value for row in rows for value in row.values() if value is not None]
    low, high = min(known, default=0.0), max(known, default=1.0)
    room = max(0.08 * (high - low), 1e-3)
    low, high = max(low - room, 0.0), min(high + room, 1.0)
    chart = line_chart([], (low, high), (0, 1))

    def place(value: float | None) -> float | None:
        return None if value is None else (value - low) / (high - low)

    return {
        "ticks": chart["x_ticks"],
        "rows": [{key: place(value) for key, value in row.items()} for row in rows],
    }
