"""The doctor's page in a real browser."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests.browsers import pictures_shown
from tests.doctor.data_sets import CocoSet, Scene, looked_at, picture
from tests.reports.pages import FILES, NAMES

from fcos_lightning.doctor.examine import found
from fcos_lightning.doctor.findings import Diagnosis
from fcos_lightning.doctor.output import numbers_of
from fcos_lightning.doctor.showing import doctor_page
from fcos_lightning.reports.page import json_text


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of a data set with hostile names and faults of every severity."""
    root = tmp_path_factory.mktemp("doctor") / "<b>data</b>"
    categories = dict(enumerate(NAMES, start=1))
    scene = Scene(
        root, CocoSet("train", categories=categories), CocoSet("val", categories=categories)
    )
    for number, name in enumerate(FILES):
        # Files of these names cannot lie on every disk, but their images may be missing anywhere.
        scene.train.images[name] = (96, 64)
        scene.train.boxes.append((name, 1 + number % len(NAMES), [5, 5, 30, 30]))
    for number in range(6):
        boxes = ([5, 5, 30, 40], [5, 5, 30.2, 40], [0, 0, 96, 64], [80, 50, 40, 40], [9, 9, 0.5, 9])
        scene.add(scene.train, f"مرحبا {number} <i>.png", picture(number), *boxes)
        scene.add(scene.val, f"v{number}.png", picture(number), [8, 8, 40, 30])  # the same picture
    for one in (scene.train, scene.val):
        one.write(root)
    data = looked_at(root, strict=False)
    diagnosis = Diagnosis(found(data), ("a larger image gives <u>points</u> to 3 objects",))
    numbers = numbers_of(data, diagnosis, "COCO", diagnosis.status(False), {})
    page = root.parent / "page"
    page.mkdir()
    (page / "doctor.json").write_text(json_text(numbers), encoding="utf-8")
    (page / "doctor.html").write_text(doctor_page(data, diagnosis, numbers), encoding="utf-8")
    return page


@pytest.fixture
def page_file(folder: Path) -> Path:
    return folder / "doctor.html"


@pytest.fixture
def numbers(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "doctor.json").read_text("utf-8"))
    return content


def test_it_is_whole_and_nothing_sticks_out(
    page: Any, numbers: dict[str, Any], screenshots: Path
) -> None:
    width = page.viewport_size["width"]
    page.screenshot(path=screenshots / f"doctor_{width}.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    codes = [kind["code"] for kind in numbers["kinds"]]
    assert len(codes) > 5 and {kind["severity"] for kind in numbers["kinds"]} == {
        *("error", "warning", "note")
    }
    assert page.locator("#found ~ .scroll").first.locator("tbody th").all_text_contents() == codes
    assert page.locator("#classes + .scroll tbody th").all_text_contents() == list(NAMES)
    # Every picture is there and has its pixels.
    assert pictures_shown(page, ".shot image") > 5


def test_the_severity_leaves_its_kinds(page: Any, numbers: dict[str, Any]) -> None:
    counts = Counter(kind["severity"] for kind in numbers["kinds"])
    for severity, count in counts.items():
        page.locator("#severity").select_option(severity)
        kept = [kind["code"] for kind in numbers["kinds"] if kind["severity"] == severity]
        heads = page.locator("section:visible > h2").all()
        assert [one.get_attribute("id") for one in heads] == kept
        assert page.locator("#shown").inner_text() == f"{count} kinds of severity {severity}"
    page.locator("#severity").select_option("")
    assert page.locator("section:visible").count() == len(numbers["kinds"])


def test_the_keyboard_reaches_everything(page: Any) -> None:
    reached = []
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate(
                "document.activeElement.id || document.activeElement.className"
                " || document.activeElement.tagName"
            )
        )
    assert reached[0] == "skip"
    assert {"severity", "scroll", "SUMMARY", "A"} <= set(reached)


def test_axe_finds_no_fault(page: Any, axe: str) -> None:
    for details in page.locator("details").all():
        details.evaluate("one => { one.open = true; }")
    page.evaluate(axe)
    violations = page.evaluate("axe.run({resultTypes: ['violations']})")["violations"]
    assert [(one["id"], one["nodes"][0]["html"][:120]) for one in violations] == []
