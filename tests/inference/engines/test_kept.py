"""A checkpoint on another engine: converted once, and again when anything differs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.inference.engines.test_file_detector import assert_same
from tests.inference.scenes import SIDES

from fcos_lightning import Predictor, load_detector
from fcos_lightning.checkpoints import describe
from fcos_lightning.data.images import read_image
from fcos_lightning.errors import UserError
from fcos_lightning.inference.engines import kept, opening
from fcos_lightning.inference.engines.kept import on_engine


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/fcos-lightning/engines"


@pytest.fixture(scope="module")
def models() -> dict[str, bytes]:
    """What was exported in this module, by names of detectors."""
    return {}


@pytest.fixture(autouse=True)
def exports(monkeypatch: pytest.MonkeyPatch, models: dict[str, bytes]) -> list[str]:
    """One entry for each time that a detector is to be exported; which happens once."""
    made: list[str] = []
    export = kept.export_onnx

    def counted(detector: Any, **more: Any) -> bytes:
        made.append(kept._name(detector, more))
        if made[-1] not in models:
            models[made[-1]] = export(detector, **more)
        return models[made[-1]]

    monkeypatch.setattr(kept, "export_onnx", counted)
    return made


@pytest.mark.parametrize("backend", ["onnx", "openvino"])
def test_a_checkpoint_finds_the_same_and_is_converted_once(
    checkpoint: Path,
    photos: list[Path],
    cache: Path,
    exports: list[str],
    tmp_path: Path,
    backend: str,
) -> None:
    if backend == "openvino":
        pytest.importorskip("openvino")
    images = [read_image(photo) for photo in photos]
    options: dict[str, Any] = {"device": "cpu", "batch_size": 3}
    wanted = Predictor.load(checkpoint, **options)(images)
    for times in range(2):
        predictor = Predictor.load(checkpoint, backend=backend, **options)
        for one, other in zip(predictor(images), wanted, strict=True):
            assert_same(one, other)
        assert len(exports) == 1, times
    (file,) = cache.glob("*.onnx")

    # Its name is of what is in the checkpoint, not of where that lies, nor of how it is decoded.
    (tmp_path / "copy.ckpt").write_bytes(checkpoint.read_bytes())
    few = Predictor.load(tmp_path / "copy.ckpt", backend=backend, **options)
    assert len(exports) == 1 and len(few(photos[0])) > 0

    # What is broken is made again.
    file.write_bytes(file.read_bytes()[:1000])
    again = Predictor.load(checkpoint, backend=backend, **options)
    assert_same(again(images)[0], wanted[0])
    assert len(exports) == 2 and file.stat().st_size > 1000


def test_options_of_the_decoder_are_torchs_and_work(
    checkpoint: Path, photos: list[Path], cache: Path
) -> None:
    found = Predictor.load(checkpoint, device="cpu", backend="onnx", decoder={"max_detections": 3})(
        photos[0]
    )
    usual = Predictor.load(checkpoint, device="cpu")(photos[0])
    assert len(found) == 3 and torch.allclose(found.scores, usual.scores[:3], atol=1e-4)


def test_other_weights_are_another_detector(
    checkpoint: Path, cache: Path, exports: list[str], tmp_path: Path, photos: list[Path]
) -> None:
    other = load_detector(checkpoint)
    with torch.no_grad():
        other.head.box_ltrb.bias.add_(0.5)  # type: ignore[union-attr, operator]
    weights = {f"detector.{key}": value for key, value in other.state_dict().items()}
    torch.save({"state_dict": weights, "fcos": describe(other, **SIDES)}, tmp_path / "b.ckpt")
    first, second = (
        Predictor.load(one, device="cpu", backend="onnx")(photos[0])
        for one in (checkpoint, tmp_path / "b.ckpt")
    )
    assert len(exports) == 2
    assert_same(second, Predictor.load(tmp_path / "b.ckpt", device="cpu")(photos[0]))
    assert not torch.equal(first.boxes_xyxy, second.boxes_xyxy)


def test_a_version_of_its_own_has_a_name_of_its_own(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = load_detector(checkpoint)
    names = {kept._name(detector, {}), kept._name(detector, {"shorter_side": 7})}
    monkeypatch.setattr(kept, "__version__", "99")
    names.add(kept._name(detector, {}))
    assert len(names) == 3


def test_a_cache_that_cannot_be_written_costs_time_alone(
    checkpoint: Path, photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    found = Predictor.load(checkpoint, device="cpu", backend="onnx")(photos[0])
    assert_same(found, Predictor.load(checkpoint, device="cpu")(photos[0]))


def test_few_are_kept_those_that_were_used_last(checkpoint: Path, cache: Path) -> None:
    cache.mkdir(parents=True)
    for age in range(12):
        (cache / f"{age}.onnx.onnx").write_bytes(b"old")
        os.utime(cache / f"{age}.onnx.onnx", (1e9 - age, 1e9 - age))
    on_engine(load_detector(checkpoint), "onnx", "cpu", SIDES)
    left = {file.name for file in cache.glob("*.onnx")}
    assert len(left) == kept._MOST_KEPT
    assert {f"{age}.onnx.onnx" for age in range(kept._MOST_KEPT - 1)} < left


def test_what_finds_something_else_is_not_used(
    checkpoint: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Wrong(opening.OnnxEngine):
        def __call__(self, feed: Any) -> Any:
            found = super().__call__(feed)
            return {**found, "ltrb_px": found["ltrb_px"] + 0.2}

    monkeypatch.setattr(opening, "OnnxEngine", Wrong)
    with pytest.raises(UserError, match="backend=onnx: its detections differ from torch's: image"):
        Predictor.load(checkpoint, device="cpu", backend="onnx")
    assert not list(cache.glob("*.onnx"))
