"""The comparison in a real browser."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.browsers import pictures_shown
from tests.reports.compare.pages import RUNS, hostile_comparison
from tests.reports.pages import NAMES


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hostile_comparison(tmp_path_factory.mktemp("comparison"))[0]


@pytest.fixture
def page_file(comparison: Path) -> Path:
    return comparison / "comparison.html"


@pytest.fixture
def numbers(comparison: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((comparison / "comparison.json").read_text())
    return content


def test_it_is_whole_and_nothing_sticks_out(page: Any, screenshots: Path) -> None:
    width = page.viewport_size["width"]
    page.screenshot(path=screenshots / f"comparison_{width}.png", full_page=True)
    assert page.title() == "Comparison of <b>runs</b>"
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.locator("#classes + .scroll tbody th").all_text_contents() == list(NAMES)
    assert page.locator("#settings + .scroll thead th bdi").all_text_contents() == list(RUNS)
    # Every picture is drawn, in both panels.
    assert pictures_shown(page, ".store image") > 5
    for use in page.locator(".shot use").all():
        assert page.evaluate("id => document.querySelector(id).tagName", use.get_attribute("href"))


def test_filters_leave_the_images_of_a_pair_and_of_a_class(
    page: Any, numbers: dict[str, Any]
) -> None:
    shown = numbers["shown"]
    everything = page.locator(".shot:visible").count()
    assert everything == len(shown) > 10
    for other, better in ((1, "other"), (2, "first"), (2, "other")):
        page.locator("#of-pair").select_option(f"{other} {better}")
        expected = [
            image["file"] for image in shown if (image["other"], image["better"]) == (other, better)
        ]
        assert page.locator(".shot:visible h3").all_text_contents() == expected
        assert page.locator("#shown").inner_text() == f"{len(expected)} of {everything} images"
    page.locator("#of-pair").select_option(" ")
    page.locator("#of-class").select_option("2")
    expected = [
        image["file"]
        for image in shown
        if any(
            any(image["objects"][at]["class"] == 2 for at in found["missed"])
            or any(one["wrong"] and one["class"] == 2 for one in found["detections"])
            for found in image["found"]
        )
    ]
    assert 0 < len(expected) < everything
    assert page.locator(".shot:visible h3").all_text_contents() == expected


def test_each_side_shows_what_its_run_found(page: Any, numbers: dict[str, Any]) -> None:
    for place, image in enumerate(numbers["shown"][:6]):
        shot = page.locator(".shot").nth(place)
        for side, found in enumerate(image["found"]):
            svg = shot.locator(f'[data-side="{side}"]')
            for look, number in (
                ("miss", len(found["missed"])),
                ("hit", sum(one["right"] for one in found["detections"])),
                ("false", sum(one["wrong"] for one in found["detections"])),
            ):
                assert svg.locator(f"rect.box.{look}").count() == number, (image["file"], look)


def test_an_image_is_enlarged_by_mouse_and_by_keyboard(page: Any, screenshots: Path) -> None:
    shot, dialog = page.locator(".shot").first, page.locator("dialog")
    small = shot.locator("svg").first.bounding_box()
    shot.locator(".enlarge").click()
    assert dialog.is_visible()
    assert dialog.locator("h2").inner_text() == shot.locator("h3").inner_text()
    assert dialog.locator("svg").first.bounding_box()["width"] > 1.3 * small["width"]
    width = page.viewport_size["width"]
    page.screenshot(path=screenshots / f"comparison_{width}_large.png")
    page.keyboard.press("Escape")
    assert not dialog.is_visible()
    page.reload()
    reached = []
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate("document.activeElement.id || document.activeElement.className")
        )
        if reached[-1] == "enlarge":
            break
    assert reached[0] == "skip"
    assert {"of-pair", "of-class", "scroll", "enlarge"} <= set(reached)
    page.keyboard.press("Enter")
    assert dialog.is_visible()
    page.keyboard.press("Enter")  # on the button that closes
    assert not dialog.is_visible()


def test_axe_finds_no_fault(page: Any, axe: str) -> None:
    page.evaluate(axe)
    for open_image in (False, True):
        if open_image:
            page.locator(".enlarge").first.click()
        found = page.evaluate("axe.run({resultTypes: ['violations']})")["violations"]
        assert [(one["id"], one["nodes"][0]["html"][:120]) for one in found] == []
