"""The page of ``fcos-serve`` in a real browser: drop photos, see boxes, by mouse and keyboard."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.inference.scenes import SIDES, write_checkpoint
from tests.serving.talking import served, service_of

from fcos_lightning import Predictor
from fcos_lightning.serving.access import Access

NASTY = "<img src=x onerror=alert(1)>.png"


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    file = write_checkpoint(tmp_path_factory.mktemp("page") / "best.ckpt", **SIDES)
    return Predictor.load(file, device="cpu")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("photos")
    files = [folder / "first.png", folder / NASTY, folder / "third.tif"]
    for seed, file in enumerate(files):
        small = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
        Image.fromarray(small).resize((90, 64 + seed), Image.Resampling.BICUBIC).save(file)
    return files


@pytest.fixture(params=[390, 1440])
def page(request: pytest.FixtureRequest, browser: Any, predictor: Predictor) -> Iterator[Any]:
    """The page of a server with a token; that nothing else is asked for is looked at in the end."""
    access = Access("127.0.0.1", "s3cret")
    service = service_of(predictor, score_threshold=0.3, access=access)
    with served(service, 20.0) as port:
        dark = "dark" if request.param == 390 else "light"
        size = {"width": request.param, "height": 900}
        context = browser.new_context(viewport=size, color_scheme=dark)
        page = context.new_page()
        said: list[str] = []
        hosts: set[str] = set()
        # A status above 400 is told on the console, and is what some tests are about.
        page.on(
            "console",
            lambda message: None if "status of 4" in message.text else said.append(message.text),
        )
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: said.append(dialog.message))
        page.on("request", lambda one: hosts.add(one.url.split("/")[2] or one.url[:5]))
        page.goto(f"http://127.0.0.1:{port}/")
        yield page
        assert said == [] and hosts <= {f"127.0.0.1:{port}", "data:", "blob:"}
        context.close()


def rows(page: Any) -> list[list[str]]:
    found = page.locator("#found tbody tr").all()
    return [[cell.inner_text() for cell in row.locator("td").all()] for row in found]


def test_photos_get_the_boxes_of_a_predictor(
    page: Any, predictor: Predictor, photos: list[Path]
) -> None:
    page.get_by_label("Token").fill("s3cret")
    page.locator("#least").fill("0")
    page.locator("#file").set_input_files(photos)
    page.get_by_text("third.tif: ").filter(has_text="found in").wait_for()
    assert page.locator("#photos button").all_inner_texts() == [one.name for one in photos]
    for file in reversed(
        photos
    ):  # one that no browser shows is looked at by the server all the same
        page.get_by_role("button", name=file.name, exact=True).click()
        wanted = predictor(file)
        assert [row[0] for row in rows(page)] == list(wanted.names or ())
        boxes = torch.tensor([[float(side) for side in row[2:]] for row in rows(page)])
        torch.testing.assert_close(boxes, wanted.boxes_xyxy, atol=0.051, rtol=0)
        size = page.locator("#picture").evaluate("canvas => [canvas.width, canvas.height]")
        assert tuple(size) == Image.open(file).size
    # The slider acts at once, without asking again.
    middle = f"{float(wanted.scores[len(wanted) // 2]):.2f}"
    page.locator("#least").fill(middle)
    kept = int((wanted.scores >= float(middle)).sum())
    assert len(rows(page)) == kept < len(wanted)
    assert page.locator("#least-shown").inner_text() == middle
    page.locator("#least").fill("1")
    assert rows(page) == [] and page.locator("#found").is_hidden()


def test_a_photo_can_be_dropped(page: Any, photos: list[Path]) -> None:
    page.get_by_label("Token").fill("s3cret")
    page.evaluate(
        """async content => {
          const bytes = Uint8Array.from(content), files = new DataTransfer();
          files.items.add(new File([bytes], "dropped.png", {type: "image/png"}));
          for (const kind of ["dragover", "drop"]) document.getElementById("drop").dispatchEvent(
            new DragEvent(kind, {dataTransfer: files, bubbles: true, cancelable: true}));
        }""",
        list(photos[0].read_bytes()),
    )
    page.get_by_text("dropped.png: ").filter(has_text="found in").wait_for()


def test_what_is_refused_is_said(page: Any, tmp_path: Path, photos: list[Path]) -> None:
    page.locator("#file").set_input_files(photos[0])
    page.get_by_text("first.png: send the server's token").wait_for()
    page.get_by_label("Token").fill("s3cret")
    (tmp_path / "none.png").write_bytes(b"no image")
    page.locator("#file").set_input_files(tmp_path / "none.png")
    page.get_by_text("none.png: upload is not an image").wait_for()


def test_the_keyboard_is_enough(page: Any, photos: list[Path]) -> None:
    page.get_by_label("Token").fill("s3cret")
    page.locator("#file").set_input_files(photos[:2])
    page.get_by_text(f"{NASTY}: ").filter(has_text="found in").wait_for()
    page.get_by_label("Token").focus()
    focused, order = "document.activeElement.id || document.activeElement.textContent", []
    for _ in range(4):
        page.keyboard.press("Tab")
        order.append(page.evaluate(focused))
    assert order == ["file", "least", "first.png", NASTY]
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    pressed = page.locator("#photos button").evaluate_all(
        "all => all.map(one => one.getAttribute('aria-pressed'))"
    )
    assert pressed == ["true", "false"]
    page.keyboard.press("Shift+Tab")
    before = page.locator("#least-shown").inner_text()
    page.keyboard.press("ArrowRight")
    assert float(page.locator("#least-shown").inner_text()) == pytest.approx(float(before) + 0.01)


def test_axe_finds_no_fault(page: Any, axe: str, photos: list[Path]) -> None:
    page.get_by_label("Token").fill("s3cret")
    page.locator("#least").fill("0")
    page.locator("#file").set_input_files(photos)
    page.get_by_text("third.tif: ").filter(has_text="found in").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]
    page.evaluate(axe)
    found = page.evaluate("axe.run({resultTypes: ['violations']})")["violations"]
    assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in found] == []
