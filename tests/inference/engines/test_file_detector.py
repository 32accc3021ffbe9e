"""A converted file finds what its checkpoint finds in torch."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from tests.inference.engines.files import converted
from tests.inference.scenes import NAMES, SIDES

from fcos_lightning import Detections, Predictor
from fcos_lightning.data.images import read_image
from fcos_lightning.errors import UserError
from fcos_lightning.inference.deployed.openvino_files import openvino_files
from fcos_lightning.inference.engines.file_detector import FileDetector
from fcos_lightning.inference.engines.opening import open_file
from fcos_lightning.inference.predicting import Wanted, callers_for, predict_into
from fcos_lightning.inference.sources import find_source

FILES = ("model.onnx", "model.xml", "openvino")


@pytest.fixture(scope="module")
def folder(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("converted")
    converted(checkpoint, folder / "model.onnx")
    converted(checkpoint, folder / "fixed.onnx", (64, 96))
    return folder


def words(folder: Path, which: str) -> dict[str, object]:
    """What ``Predictor.load`` is given for a file; skips where OpenVINO is not installed."""
    if which == "model.onnx":
        return {"checkpoint": folder / which, "device": "cpu"}
    pytest.importorskip("openvino")
    if which == "openvino":
        return {"checkpoint": folder / "model.onnx", "device": "cpu", "backend": "openvino"}
    if not (folder / which).exists():
        for suffix, content in openvino_files((folder / "model.onnx").read_bytes()).items():
            (folder / "model").with_suffix(suffix).write_bytes(content)
    return {"checkpoint": folder / which, "device": "cpu"}


def assert_same(found: Detections, wanted: Detections) -> None:
    """As near as the converter asks for, in an order in which near scores do not matter."""
    assert len(found) == len(wanted) > 0 and found.class_names == wanted.class_names
    rows = [
        torch.cat([one.labels[:, None], one.boxes_xyxy, one.scores[:, None]], dim=1).numpy()
        for one in (found, wanted)
    ]
    for row in rows[0]:
        apart = np.abs(rows[1] - row) / ([0.5] + [0.05] * 4 + [1e-4])
        assert apart.max(axis=1).min() <= 1


@pytest.mark.parametrize("which", FILES)
def test_it_finds_what_torch_finds(
    folder: Path, checkpoint: Path, photos: list[Path], which: str
) -> None:
    predictor = Predictor.load(**words(folder, which))  # type: ignore[arg-type]
    assert isinstance(predictor.detector, FileDetector)
    torchs = Predictor.load(checkpoint, device="cpu")
    assert (predictor.shorter_side, predictor.longer_side) == tuple(SIDES.values())
    assert predictor.class_names == NAMES
    for photo in photos:
        assert_same(predictor(photo), torchs(photo))
    larger = {"shorter_side": 80, "longer_side": 120}
    wanted = Predictor.load(checkpoint, device="cpu", **larger)(photos[0])  # type: ignore[arg-type]
    given: dict[str, object] = {**words(folder, which), **larger}
    assert_same(Predictor.load(**given)(photos[0]), wanted)  # type: ignore[arg-type]


@pytest.mark.parametrize("which", FILES)
def test_in_a_batch_each_image_finds_what_it_finds_alone(
    folder: Path, photos: list[Path], which: str
) -> None:
    alone = Predictor.load(**words(folder, which))  # type: ignore[arg-type]
    batched = Predictor.load(**words(folder, which), batch_size=4)  # type: ignore[arg-type]
    pixels = [read_image(photo) for photo in photos]
    images = [pixels[0], pixels[0][::-1].copy(), *pixels[1:], pixels[1], pixels[0]]
    for found, wanted in zip(batched(images), map(alone, images), strict=True):
        assert_same(found, wanted)


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("which", FILES)
def test_made_for_two_callers_it_finds_the_same_for_each(
    folder: Path, photos: list[Path], which: str
) -> None:
    given = words(folder, which)
    file = open_file(str(given["checkpoint"]), str(given.get("backend", "auto")), "cpu", 2)
    assert file.engine.callers == 2
    together, alone = Predictor(file, *file.sides()), Predictor.load(**given)  # type: ignore[arg-type]
    images = photos * 4
    with ThreadPoolExecutor(2) as pool:
        for found, photo in zip(pool.map(together, images), images, strict=True):
            assert_same(found, alone(photo))


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("callers", [1, 2])
def test_of_many_images_as_many_are_detected_on_as_the_engine_was_made_for(
    folder: Path, photos: list[Path], tmp_path: Path, callers: int
) -> None:
    file = open_file(folder / "model.onnx", "onnx", "cpu", callers)
    real, seen, active, lock = file.engine, set(), [], threading.Lock()

    class Watched:
        callers, about, inputs, outputs = real.callers, real.about, real.inputs, real.outputs

        def __call__(self, feed: Mapping[str, object]) -> object:
            with lock:
                active.append(None)
                seen.add((len(active), torch.get_num_threads()))
            time.sleep(0.2)
            with lock:
                active.pop()
            return real(feed)  # type: ignore[arg-type]

    file.engine = Watched()  # type: ignore[assignment]
    source = find_source(str(photos[0].parent))
    assert callers_for(source) == 2 and callers_for(find_source(str(photos[0]))) == 1
    wanted = Wanted(False, (), False, "photos", "model")
    done = predict_into(tmp_path / "out", Predictor(file, *file.sides()), source, wanted)
    assert done.images == len(photos) and done.detections > 0
    assert max(seen)[0] == callers and {threads for _, threads in seen} == {2 // callers}
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize("which", FILES)
def test_thresholds_and_tiles_work_as_with_a_checkpoint(
    folder: Path, checkpoint: Path, photos: list[Path], which: str
) -> None:
    tiled: dict[str, object] = {"tiles": "64x64", "tiles_overlap": 0.25, "batch_size": 2}
    assert len(Predictor.load(checkpoint, device="cpu")(photos[0])) < 40
    wanted = Predictor.load(checkpoint, device="cpu", **tiled)(photos[0])  # type: ignore[arg-type]
    found = Predictor.load(**words(folder, which), **tiled)(photos[0])  # type: ignore[arg-type]
    assert_same(found, wanted)
    assert len(wanted) > 40
    usual = Predictor.load(checkpoint, device="cpu")(photos[0])
    score = float(usual.scores[5]) - 1e-3
    chosen: dict[str, object] = {"thresholds": {"cat": score, "dog": 1.0}}
    found = Predictor.load(**words(folder, which), **chosen)(photos[0])  # type: ignore[arg-type]
    assert set(found.names or ()) == {"cat"} and float(found.scores.min()) >= score


def test_a_file_of_one_size_sees_each_image_in_black(
    folder: Path, checkpoint: Path, photos: list[Path]
) -> None:
    fixed = Predictor.load(folder / "fixed.onnx", device="cpu", batch_size=3)
    torchs = Predictor.load(checkpoint, device="cpu")
    fits = read_image(photos[3])[:64, :90]
    for image, seen_hw in ((fits, (64, 90)), (read_image(photos[0]), (64, 50))):
        sides = fixed._sides
        assert sides.inner(image).shape[:2] == seen_hw
        black = sides.seen(image)
        assert black.shape == (64, 96, 3) and not black[:, seen_hw[1] :].any()
        # The detector itself, given the same black, finds the same; less what lies in the black.
        by_hand = torchs.detector.detect([torch.from_numpy(black).permute(2, 0, 1)])[0]
        inside = by_hand.boxes_xyxy.clamp(max=torch.tensor([*seen_hw[::-1], *seen_hw[::-1]]))
        real = (inside[:, 2:] > inside[:, :2]).all(dim=1)
        wanted = Detections(inside[real], by_hand.scores[real], by_hand.labels[real], NAMES)
        found = fixed(image)
        assert_same(found, wanted.resized(torch.tensor(seen_hw), torch.tensor(image.shape[:2])))
    several = fixed([read_image(photo) for photo in photos])
    for found, photo in zip(several, photos, strict=True):
        assert_same(found, fixed(photo))


def test_a_detector_without_names(folder: Path, tmp_path: Path, photos: list[Path]) -> None:
    model = onnx.load(folder / "model.onnx")
    for prop in model.metadata_props:
        if prop.key in ("class_names", "category_ids"):
            prop.value = "null"
    onnx.save(model, tmp_path / "model.onnx")
    found = Predictor.load(tmp_path / "model.onnx", device="cpu")(photos[0])
    assert found.class_names is None and found.names is None
    assert torch.equal(
        found.boxes_xyxy, Predictor.load(folder / "model.onnx", device="cpu")(photos[0]).boxes_xyxy
    )
    with pytest.raises(UserError, match="does not name its classes"):
        Predictor.load(tmp_path / "model.onnx", device="cpu", thresholds={"cat": 0.5})


def test_what_the_file_says_is_what_the_checkpoint_said(folder: Path) -> None:
    stated = open_file(folder / "model.onnx").stated
    assert stated.license == "MIT" and stated.precision == "fp32"
    assert stated.version.startswith("fcos-lightning ")
    assert json.dumps(stated.decoder, sort_keys=True) == (
        '{"max_detections": 20, "nms_iou": 0.6, "score_threshold": 0.05}'
    )
