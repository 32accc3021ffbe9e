"""The page of the article's claims in a real browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.reports.article.pages import written


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("article")
    written(folder)
    return folder


@pytest.fixture
def page_file(folder: Path) -> Path:
    return folder / "article.html"


def test_it_is_whole_and_nothing_sticks_out(page: Any, screenshots: Path) -> None:
    width = page.viewport_size["width"]
    page.screenshot(path=screenshots / f"article_{width}.png", full_page=True)
    assert page.title().startswith("The article's claims on <b>train</b>")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.locator("table").count() == 6
    for link in page.locator("nav a").all():
        assert page.locator(link.get_attribute("href")).count() == 1


def test_axe_finds_no_fault(page: Any, axe: str) -> None:
    page.evaluate(axe)
    found = page.evaluate("axe.run({resultTypes: ['violations']})")["violations"]
    assert [(one["id"], one["nodes"][0]["html"][:120]) for one in found] == []


def test_the_keyboard_reaches_each_table(page: Any) -> None:
    reached = []
    for _ in range(20):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.getAttribute('aria-label') || ''"))
    tables = [one.get_attribute("aria-label") for one in page.locator(".scroll").all()]
    assert set(tables) <= set(reached) and len(tables) == 6
