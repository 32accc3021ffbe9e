"""ONNX on the command line: written by fcos-convert, run by fcos-test."""

import json
import sys
from pathlib import Path

import onnx
import pytest
from tests.cli.running import SMALL, Command


@pytest.fixture
def ckpt(command: Command, tmp_path: Path) -> Path:
    result = command("train", *SMALL, "schedule.max_epochs=2", "run_dir=trained")
    assert result.code == 0, result.err
    return tmp_path / "trained/checkpoints/best.ckpt"


def test_onnx_runtime_gives_the_same_figures(command: Command, ckpt: Path, tmp_path: Path) -> None:
    words = (f"ckpt={ckpt}", "decoder.score_threshold=0.01")
    for backend in ("torch", "onnx"):
        result = command("test", *words, f"backend={backend}", f"run_dir={backend}")
        assert result.code == 0, result.err
    assert "metrics.json, predictions.json and model.onnx in" in result.out
    figures, found = (
        [json.loads((tmp_path / run / f"{name}.json").read_text()) for run in ("torch", "onnx")]
        for name in ("metrics", "predictions")
    )
    assert figures[0]["AP"] > 0
    assert figures[1]["AP"] == pytest.approx(figures[0]["AP"], abs=1e-6)
    assert len(found[0]) == len(found[1]) > 0
    for one, other in zip(*found, strict=True):
        assert one["image_id"] == other["image_id"] and one["category_id"] == other["category_id"]
        assert one["bbox"] == pytest.approx(other["bbox"], abs=1e-2)
    assert not (tmp_path / "torch/model.onnx").exists()

    # What is converted is what was measured.
    result = command("convert", f"ckpt={ckpt}", "out=models/small.onnx", "nms=false")
    assert result.code == 0, result.err
    assert (
        "best.ckpt (fcos-train): tiny, 5 classes, in models/small.onnx; the prediction alone"
        in result.out
    )
    ours, measured = (onnx.load(path) for path in ("models/small.onnx", "onnx/model.onnx"))
    assert ours.graph == measured.graph
    (described,) = (json.loads(prop.value) for prop in ours.metadata_props if prop.key == "fcos")
    assert described["shorter_side"] == 64 and "triangle" in described["spec"]["class_names"]


def test_mistakes_are_one_line(
    command: Command, ckpt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    for words, said in (
        (("test", "backend=tensorrt"), "backend=tensorrt: give auto, torch, onnx or openvino"),
        (("test", "backend=onnx"), "pip install 'onnx>=1.18'"),
        (("test", "channels_last=maybe"), "channels_last=maybe: give auto, true or false"),
        (("convert", "out=a.onnx"), "pip install 'onnx>=1.18'"),
        (("convert", "out=a.onnx", "layout=torchvision"), "ending in .safetensors or .pth"),
    ):
        result = command(words[0], f"ckpt={ckpt}", *words[1:])
        assert result.code == 2 and said in result.err
        assert len(result.err.strip().splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["trained"]
