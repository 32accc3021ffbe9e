"""Numbers that count something have separators on every page, and none in the files beside it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jinja2
import pytest
from tests.reports.article.pages import written
from tests.reports.compare.pages import hostile_comparison
from tests.reports.explain.scenes import hostile_explanation
from tests.reports.pages import hostile_report
from tests.reports.test_report import Text

from fcos_lightning.printing import grouped
from fcos_lightning.reports import page as module
from fcos_lightning.reports.charts import line_chart

#: What is no count: sizes in pixels, shares of 100, and numbers that are names.
_NO_COUNTS = re.compile(
    r"shorter side <\d+>|longer (one of )?at most <\d+>|side of <\d+>|Bounds hold <\d+> of 100"
    r"|image of <\d+> (x <\d+> )?pixels|\bbox <\d+>"
)


def report(folder: Path) -> tuple[str, list[int]]:
    return hostile_report(folder).report.read_text(), []


def explanation(folder: Path) -> tuple[str, list[int]]:
    page = hostile_explanation(folder / "page")
    numbers = json.loads((page / "explain.json").read_text())
    names = [row["stride"] for row in numbers["mapping"]["levels"]]
    names += [row["number"] + 1 for row in numbers["unanswered"]]
    assert len(names) > 4
    return (page / "explain.html").read_text(), names


def comparison(folder: Path) -> tuple[str, list[int]]:
    return (hostile_comparison(folder)[0] / "comparison.html").read_text(), []


def article(folder: Path) -> tuple[str, list[int]]:
    written(folder)
    return (folder / "article.html").read_text(), []


@pytest.mark.parametrize("made", [report, explanation, comparison, article])
def test_every_count_of_a_page_is_written_by_the_one_rule(
    made: Callable[[Path], tuple[str, list[int]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a template writes as it is, is marked; what the rule has written is text by then."""

    class Marking(jinja2.Environment):
        def __init__(self, **options: Any) -> None:
            super().__init__(
                finalize=lambda value: f"<{value}>" if type(value) is int else value, **options
            )

    monkeypatch.setattr(module, "Environment", Marking)
    page, names = made(tmp_path)
    texts = [_NO_COUNTS.sub("", text) for text in Text(page).seen]
    assert [text for text in texts if re.search(r"<\d+>", text)] == [f"<{one}>" for one in names]


def test_numbers_are_grouped_by_three() -> None:
    counts = {0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567"}
    assert [grouped(count) for count in counts] == list(counts.values())
    chart = line_chart([{"name": "AP", "x": [0, 20000], "y": [0.0, 0.5]}])
    assert [text for _, text in chart["x_ticks"]] == ["0", "5,000", "10,000", "15,000", "20,000"]
    assert "0.1" in [text for _, text in chart["y_ticks"]]
