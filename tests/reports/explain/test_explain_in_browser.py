"""The page of the label mapping in a real browser."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.browsers import pictures_shown
from tests.reports.explain.scenes import hostile_explanation
from tests.reports.pages import NAMES


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hostile_explanation(tmp_path_factory.mktemp("explain") / "page")


@pytest.fixture
def page_file(folder: Path) -> Path:
    return folder / "explain.html"


@pytest.fixture
def numbers(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "explain.json").read_text())
    return content


def test_it_is_whole_and_nothing_sticks_out(
    page: Any, screenshots: Path, numbers: dict[str, Any]
) -> None:
    width = page.viewport_size["width"]
    page.screenshot(path=screenshots / f"explain_{width}.png", full_page=True)
    assert page.title() == "Label mapping of runs/<b>bold</b>/best.ckpt"
    assert page.evaluate("document.documentElement.scrollWidth") == width
    files = [image["file"] for image in numbers["shown"]]
    shown = page.locator("#image option").all_text_contents()
    assert [name for name in shown if "..." not in name] == [
        name for name, said in zip(files, shown, strict=True) if "..." not in said
    ]
    assert page.get_by_text("A remark with <i>marks</i>.").is_visible()
    classes = page.locator("#boxes td.words bdi").all_text_contents()
    assert classes and set(classes) <= set(NAMES)
    assert pictures_shown(page, "image") == 8


def drawn(page: Any, look: str) -> int:
    """How many points are drawn with a class."""
    paths = page.locator(f".picture > svg:not([hidden]) .{look}").all()
    return sum(path.get_attribute("d").count("M") for path in paths)


def test_each_image_and_mapping_draws_its_points(page: Any, numbers: dict[str, Any]) -> None:
    for image in range(0, len(numbers["shown"]), 3):
        page.locator("#image").select_option(str(image))
        for setting in range(0, len(numbers["settings"]), 4):
            page.locator("#setting").select_option(str(setting))
            here = numbers["shown"][image]["settings"][setting]
            assert drawn(page, "dots.back") == len(here["at"])
            assert drawn(page, "dots.ring") == len(here["claims"])
            said = page.locator("#counts").inner_text()
            assert said.startswith(f"{len(here['at'])} points answer for a box")
            assert f"{len(here['unanswered'])} of " in said
            assert page.locator(".edge.lost").count() == len(here["unanswered"])


def test_points_lie_where_the_mapping_has_them(page: Any, numbers: dict[str, Any]) -> None:
    """The first point of P3 sits in the middle of its cell, in pixels of the file."""
    here = numbers["shown"][0]
    mapped, offset = here["settings"][0], numbers["settings"][0]["offset"]
    rows, columns, step_x, step_y = mapped["levels"][0]
    index = mapped["at"][0]
    assert index < rows * columns
    x = (index % columns + offset) * step_x * here["width"] / mapped["size"][1]
    y = (index // columns + offset) * step_y * here["height"] / mapped["size"][0]
    paths = page.locator(".picture > svg:not([hidden]) .dots.back").all()
    assert any(f"M{x:.2f} {y:.2f}h0" in path.get_attribute("d") for path in paths)


def test_levels_and_boxes_choose_points(page: Any, numbers: dict[str, Any]) -> None:
    here = numbers["shown"][0]["settings"][0]
    boxes = [number for number, counts in enumerate(here["by_box"]) if sum(counts)]
    page.get_by_label("P3").uncheck()
    others = sum(sum(counts[1:]) for counts in here["by_box"])
    assert drawn(page, "dots.back") == others
    page.get_by_label("P3").check()
    page.locator("#boxes button").nth(boxes[0]).click()
    claimed = [claims for claims in here["claims"] if boxes[0] in claims[1:]]
    lost = [claims for claims in claimed if here["box"][claims[0]] != boxes[0]]
    assert drawn(page, "dots.back") == sum(here["by_box"][boxes[0]]) + len(lost)
    page.locator("#all-points").check()
    cells = sum(rows * columns for rows, columns, *_ in here["levels"])
    assert drawn(page, "dots.all") == cells


def test_a_point_is_told_by_keyboard_and_by_mouse(page: Any, numbers: dict[str, Any]) -> None:
    ambiguous = next(
        place for place, one in enumerate(numbers["shown"]) if one["settings"][0]["claims"]
    )
    page.locator("#image").select_option(str(ambiguous))
    here = numbers["shown"][ambiguous]
    mapped = here["settings"][0]
    place, *claims = mapped["claims"][0]
    page.locator("#after").focus()
    for _ in range(place + 1):
        page.keyboard.press("Enter")
    text = page.locator("#about").inner_text()
    assert f"answers for box {mapped['box'][place] + 1}" in text and "Ambiguous: " in text
    for other in set(claims) - {mapped["box"][place]}:
        assert str(other + 1) in text.split("Ambiguous: ")[1]
    assert f"to learn {mapped['target'][place] / 100:.2f}" in text and "Predicted: " in text
    assert page.locator(".link").count() == len({*claims, mapped["box"][place]})

    page.locator("#before").click()
    before = page.locator("#which").inner_text()
    picture = page.locator(".picture > svg:not([hidden])")
    area = picture.bounding_box()
    ring = page.locator(".picture > svg:not([hidden]) .dots.ring").last.bounding_box()
    page.locator("#before").click()
    assert page.locator("#which").inner_text() != before
    picture.click(
        position={
            "x": ring["x"] + ring["width"] / 2 - area["x"],
            "y": ring["y"] + ring["height"] / 2 - area["y"],
        }
    )
    assert page.locator("#which").inner_text() == before


def test_heat_maps_and_detections(page: Any, numbers: dict[str, Any]) -> None:
    image = numbers["shown"][0]
    for show in ("target", "score", "quality"):
        page.locator("#show").select_option(show)
        assert drawn(page, "cells") == len(image["settings"][0]["at"])
        assert page.locator("#scale li").count() == 6
    candidates = image["said"]["candidates"]
    kept = [place for place, one in enumerate(candidates) if one[3] == "kept"]
    assert page.locator("#detections tr").count() == len(kept)
    removed = [sum(one[4] == place for one in candidates) for place in kept]
    assert removed == [
        int(text) for text in page.locator("#detections td:last-child").all_text_contents()
    ]
    most = removed.index(max(removed))
    page.locator("#detections button").nth(most).click()
    assert page.locator(".edge.gone").count() == max(removed) > 0
    missed = {one["number"] for one in image["said"]["missed"]}
    said = page.locator("#boxes td.words:last-child").all_text_contents()
    assert {place for place, text in enumerate(said) if text.startswith("missed: ")} == missed
    page.locator("#setting").select_option("1")
    assert page.locator("#detections tr").count() == 0
    assert "choose that one" in page.locator("#remark").inner_text()


def test_axe_finds_no_fault(page: Any, axe: str) -> None:
    page.evaluate(axe)
    for step in ("none", "point", "found"):
        if step == "point":
            page.locator("#after").click()
        if step == "found":
            page.locator("#show").select_option("found")
            page.locator("#detections button").first.click()
        found = page.evaluate("axe.run({resultTypes: ['violations']})")["violations"]
        assert [(one["id"], one["nodes"][0]["html"][:120]) for one in found] == []


def test_the_keyboard_reaches_everything(page: Any) -> None:
    reached = []
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate("document.activeElement.id || document.activeElement.className")
        )
    assert {"skip", "image", "setting", "show", "all-points", "before", "after"} <= set(reached)
    assert "panel-list" in reached and "scroll" in reached
