"""The report in a real browser."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.browsers import pictures_shown
from tests.reports.pages import FILES, NAMES, hostile_report


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hostile_report(tmp_path_factory.mktemp("report")).report


@pytest.fixture
def page_file(report: Path) -> Path:
    return report


def boxes_shown(page: Any) -> int:
    return page.locator("[data-side=found] rect.box:visible").count()


def test_it_is_whole_and_nothing_sticks_out(page: Any, screenshots: Path) -> None:
    width = page.viewport_size["width"]
    page.screenshot(path=screenshots / f"report_{width}.png", full_page=True)
    assert page.title() == "Report of runs/<b>bold</b>/best.ckpt"
    assert page.evaluate("document.documentElement.scrollWidth") == width
    names = page.locator("#classes + .scroll tbody th").all_text_contents()
    assert names == list(NAMES)
    shown = set(page.locator(".shot h3").all_text_contents())
    assert len(shown & set(FILES)) == len(FILES)
    # Every picture is there and has its pixels.
    assert pictures_shown(page, "image") > 5


def test_the_slider_acts_at_once(page: Any, report: Path) -> None:
    numbers = json.loads((report.parent / "report.json").read_text())
    slider = page.locator("#score")
    counts = []
    for score in (0.05, 0.5, 0.9, 1.0):
        slider.fill(str(score))
        at = round(score * 100)
        right, wrong = (numbers["curves"]["all"][name][at] for name in ("right", "wrong"))
        text = page.locator("#counts").inner_text()
        assert text.startswith(f"{right + wrong} detections: {right} right, {wrong} wrong")
        kept = [
            one["score"] >= score
            for image in numbers["worst"]["images"]
            for one in image["detections"]
        ]
        assert boxes_shown(page) == sum(kept)
        assert page.locator("#shown").inner_text().endswith(f" {sum(kept)} detections")
        counts.append(sum(kept))
    assert counts == sorted(counts, reverse=True) and counts[0] > counts[-1] == 0
    # At 1 every object is missed.
    assert page.locator("[data-side=truth] rect.box.hit").count() == 0
    page.locator("#curve-class").select_option("1")
    right = numbers["curves"]["classes"][1]["right"][100]
    assert f"of {numbers['classes'][1]['objects']} objects" in page.locator("#counts").inner_text()
    assert page.locator("#curves svg svg .line").first.get_attribute("points").startswith("0,")


def test_counts_of_thousands_have_separators(page: Any, report: Path, tmp_path: Path) -> None:
    """The same page of a thousand times as many objects: the script writes as the template does."""
    start = '<script type="application/json" id="data">'
    before, rest = report.read_text().split(start)
    data, after = rest.split("</script>", 1)
    numbers = json.loads(data)
    curves = numbers["curves"]["all"]
    for name in ("right", "wrong"):
        curves[name] = [1000 * count for count in curves[name]]
    numbers["objects"] *= 1000
    text = json.dumps(numbers).replace("<", "\\u003c")
    (tmp_path / "more.html").write_text(f"{before}{start}{text}</script>{after}")
    page.goto((tmp_path / "more.html").as_uri())
    at = round(float(page.locator("#score").input_value()) * 100)
    right, wrong, objects = curves["right"][at], curves["wrong"][at], numbers["objects"]
    assert right and wrong and objects > right
    assert (
        page.locator("#counts")
        .inner_text()
        .startswith(
            f"{right + wrong:,} detections: {right:,} right, {wrong:,} wrong; "
            f"{objects - right:,} of {objects:,} objects missed. "
        )
    )


def test_filters_leave_the_images_with_such_mistakes(page: Any, report: Path) -> None:
    worst = json.loads((report.parent / "report.json").read_text())["worst"]
    score = float(page.locator("#score").input_value())
    everything = page.locator(".shot:visible").count()
    assert everything == len(worst["images"])
    page.locator("#of-kind").select_option("class")
    page.locator("#of-class").select_option("2")
    expected = [
        image["file"]
        for image in worst["images"]
        if any(
            one["kind"] == "class" and one["class"] == 2 and one["score"] >= score
            for one in image["detections"]
        )
    ]
    assert 0 < len(expected) < everything
    assert page.locator(".shot:visible h3").all_text_contents() == expected
    page.locator("#of-kind").select_option("missed")
    expected = [
        image["file"]
        for image in worst["images"]
        if any(
            one["class"] == 2 and not one["ignored"] and (one["found"] or 0) < score
            for one in image["objects"]
        )
    ]
    assert page.locator(".shot:visible h3").all_text_contents() == expected
    assert page.locator("#shown").inner_text().startswith(f"{len(expected)} of {everything}")


def test_an_image_is_enlarged_by_mouse_and_by_keyboard(page: Any, screenshots: Path) -> None:
    shot, dialog = page.locator(".shot").first, page.locator("dialog")
    small = shot.locator("svg").first.bounding_box()
    shot.locator(".enlarge").click()
    assert dialog.is_visible()
    assert dialog.locator("h2").inner_text() == shot.locator("h3").inner_text()
    large = dialog.locator("svg").first.bounding_box()
    assert large["width"] > 1.3 * small["width"]
    width = page.viewport_size["width"]
    page.screenshot(path=screenshots / f"report_{width}_large.png")
    # What is written on the picture lies within it.
    picture = dialog.locator("svg").last.bounding_box()
    for tag in dialog.locator("svg").last.locator("text").all()[:10]:
        place = tag.bounding_box()
        assert place["x"] >= picture["x"] - 2 and place["y"] >= picture["y"] - 2
    page.keyboard.press("Escape")
    assert not dialog.is_visible()

    # With nothing but the keyboard: to the slider, the selections and an image, and back.
    page.reload()
    reached = []
    for _ in range(60):
        page.keyboard.press("Tab")
        here = page.evaluate("document.activeElement.id || document.activeElement.className")
        reached.append(here)
        if here == "score":
            before = page.locator("#score").input_value()
            page.keyboard.press("ArrowRight")
            assert page.locator("#score").input_value() != before
        if here == "enlarge":
            break
    assert reached[0] == "skip"
    assert {"score", "curve-class", "of-class", "of-kind", "scroll", "enlarge"} <= set(reached)
    page.keyboard.press("Enter")
    assert dialog.is_visible()
    assert page.evaluate("document.querySelector('dialog').contains(document.activeElement)")
    page.keyboard.press("Enter")  # on the button that closes
    assert not dialog.is_visible()


def test_axe_finds_no_fault(page: Any, axe: str) -> None:
    """Contrast, labels, names and all else that axe-core knows, also of the enlarged image."""
    page.evaluate(axe)
    for open_image in (False, True):
        if open_image:
            page.locator(".enlarge").first.click()
        found = page.evaluate("axe.run({resultTypes: ['violations']})")["violations"]
        faults = [(one["id"], one["nodes"][0]["html"][:120]) for one in found]
        assert faults == []
