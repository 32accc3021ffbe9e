"""The page of the article's claims shows the numbers of the JSON beside it, and no others."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path

import pytest
from tests.reports.article.pages import written
from tests.reports.known_numbers import known_numbers


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("article")
    written(folder)
    return folder


def test_every_number_of_the_page_is_in_the_json(folder: Path) -> None:
    text = (folder / "article.html").read_text(encoding="utf-8")
    content = json.loads((folder / "article.json").read_text(encoding="utf-8"))

    def shown(value: float) -> tuple[str, ...]:
        forms = (f"{value}", f"{value:.1f}", f"{value:.2f}", f"{value:.3f}")
        return (*forms, f"{100 * value:.2f}", f"{value / 1e6:.2f}")

    known = known_numbers(content, shown)
    # Sums of two cells that the JSON has apart.
    known |= {str(r["grid"]["numbers"] + r["assigner"]["numbers"]) for r in content["options"]}
    cells = re.findall(r"<td>([^<]*)</td>", text)
    assert len(cells) > 100
    for cell in cells:
        for number in re.findall(r"\d+(?:\.\d+)?", unescape(cell).replace(",", "")):
            assert number in known, cell
    assert content["trained"][0]["AP"] == 0.512 and "0.512" in cells


def test_what_was_not_run_has_a_dash(folder: Path) -> None:
    text = (folder / "article.html").read_text(encoding="utf-8")
    (quality,) = re.findall(r'id="quality".*?</table>', text, re.DOTALL)
    rows = re.findall(r"<tr><th scope=.row.[^>]*>([^<]*)</th>(.*?)</tr>", quality)
    assert [name for name, _ in rows] == ["fcos", "fcos quality_on=none", "fcos_iou"]
    assert "2 of 3" in rows[0][1] and "0 of 3" in rows[1][1]
    assert re.findall(r"<td>([^<]*)</td>", rows[1][1])[1] == "\u2013"
    (methods,) = re.findall(r'id="methods".*?</table>', text, re.DOTALL)
    assert 'class="text">tal</th>' in methods and "quality_on=none" not in methods


def test_names_stay_names(folder: Path) -> None:
    text = (folder / "article.html").read_text(encoding="utf-8")
    assert "<b>train</b>" not in text and "&lt;b&gt;train&lt;/b&gt;" in text
