"""The page of ``fcos-convert out=FOLDER/`` in a real browser: the boxes are torch's."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from tests.browsers import ROOT, missing
from tests.inference.deployed.detectors import lively, noise

from fcos_lightning.inference.deployed.about import about_file
from fcos_lightning.inference.deployed.onnx_file import whole_onnx
from fcos_lightning.inference.deployed.page_files import page_files, runtime_files

SIZE = (96, 144)


class Quiet(SimpleHTTPRequestHandler):
    """As it is, but for its log."""

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def runtime() -> dict[str, bytes]:
    default = ROOT / ".venv/node_modules/onnxruntime-web/dist"
    folder = os.environ.get("FCOS_ONNXRUNTIME_WEB", str(default))
    return runtime_files(folder) if Path(folder).is_dir() else missing("onnxruntime-web")  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    about = about_file(lively("fcos"), {"shorter_side": 96, "longer_side": 160}, size_hw=SIZE)
    model = whole_onnx(lively("fcos"), about, SIZE)
    for name, content in page_files(model, about).items():
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def page(browser: Any, folder: Path) -> Iterator[Any]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    context = browser.new_context()
    page = context.new_page()
    page.address = f"http://127.0.0.1:{server.server_address[1]}/"
    yield page
    context.close()
    server.shutdown()
    server.server_close()
    thread.join()


def test_without_its_runtime_the_page_says_what_is_missing(page: Any) -> None:
    page.goto(page.address)
    page.get_by_text("ort.wasm.min.js of the npm package onnxruntime-web").wait_for()
    assert page.locator("#file").is_disabled()


def test_a_photo_gets_the_boxes_that_torch_finds(
    page: Any, folder: Path, runtime: dict[str, bytes], tmp_path: Path
) -> None:
    for name, content in runtime.items():
        (folder / name).write_bytes(content)
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(page.address)
    page.get_by_text("Ready.").wait_for(timeout=120_000)
    ((_, image),) = noise(SIZE)
    Image.fromarray(image).save(tmp_path / "photo.png")
    page.locator("#least").fill("0")
    page.locator("#file").set_input_files(tmp_path / "photo.png")
    page.get_by_text("found in").wait_for(timeout=120_000)
    rows = [
        [cell.inner_text() for cell in row.locator("td").all()]
        for row in page.locator("#found tbody tr").all()
    ]
    (wanted,) = lively("fcos").detect([torch.from_numpy(image.transpose(2, 0, 1).copy())])
    names = ("cat", "dog", "cow")
    assert [row[0] for row in rows] == [names[label] for label in wanted.labels.tolist()]
    boxes = torch.tensor([[float(side) for side in row[2:]] for row in rows])
    torch.testing.assert_close(boxes, wanted.boxes_xyxy, atol=0.1, rtol=0)
    assert page.locator("#picture").evaluate("canvas => [canvas.height, canvas.width]") == [*SIZE]
    # The threshold acts at once, and what is no picture is said so.
    middle = float(wanted.scores[len(wanted) // 2])
    page.locator("#least").fill(f"{middle:.2f}")
    kept = (wanted.scores >= float(f"{middle:.2f}")).sum()
    assert page.locator("#found tbody tr").count() == kept < len(wanted)
    (tmp_path / "none.png").write_bytes(b"no picture")
    page.locator("#file").set_input_files(tmp_path / "none.png")
    page.get_by_text("none.png: ").wait_for()
    assert said == []
