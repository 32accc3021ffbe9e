"""Converted files that lie, or want more read than themselves."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import ModelProto, TensorProto, helper
from tests.inference.engines.files import pretending

from fcos_lightning import Predictor
from fcos_lightning.errors import UserError
from fcos_lightning.inference.engines.engine import backend_for
from fcos_lightning.inference.engines.opening import open_file

GREY = np.full((64, 96, 3), 90, np.uint8)


def saved(model: ModelProto, folder: Path) -> Path:
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    return folder / "model.onnx"


def opened(model: ModelProto, folder: Path) -> Predictor:
    return Predictor.load(saved(model, folder), device="cpu")


def test_a_file_says_what_it_needs(tmp_path: Path) -> None:
    predictor = opened(pretending(), tmp_path)
    assert predictor.class_names == ("cat", "dog")
    assert (predictor.shorter_side, predictor.longer_side) == (64, 96)
    found = predictor(np.full((128, 192, 3), 90, np.uint8))
    assert found.boxes_xyxy.tolist() == [[2, 4, 6, 8]] and found.names == ("dog",)
    detector = open_file(tmp_path / "model.onnx")
    assert detector.stated.license == "MIT" and detector.category_ids == (7, 90)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (pretending(labels=(2,)), "gives label 2, and says that there are 2 classes"),
        (pretending(scores=(1.5,)), "scores that are not between 0 and 1"),
        (pretending(scores=(float("nan"),)), "scores that are not between 0 and 1"),
        (pretending(boxes=((1, 2, float("nan"), 4),)), "boxes that are not finite"),
        (pretending(boxes=((1, 2, 3),)), "no boxes, scores and labels"),
        (pretending(boxes=(1, 2, 3, 4)), "no boxes, scores and labels"),
        (pretending(labels=(0, 1)), "no boxes, scores and labels"),
        (pretending(scores=0.5), "no boxes, scores and labels"),
        (
            pretending(helper.make_node("Reshape", ["images", "all_labels"], ["other"])),
            "onnxruntime cannot compute it",
        ),
    ],
)
def test_what_are_no_detections_is_said_in_a_line(
    tmp_path: Path, model: ModelProto, message: str
) -> None:
    if message.startswith("onnxruntime"):
        model.graph.output.append(helper.make_tensor_value_info("other", TensorProto.UINT8, None))
    predictor = opened(model, tmp_path)
    with pytest.raises(UserError, match=message) as caught:
        predictor(GREY)
    assert "\n" not in str(caught.value) and len(str(caught.value)) <= 300


def test_two_images_are_not_answered_by_one(tmp_path: Path) -> None:
    file = saved(pretending(), tmp_path)
    with pytest.raises(UserError, match="gives detections of 1 images for 2"):
        Predictor.load(file, device="cpu", batch_size=2)([GREY, GREY])


def outside(model: ModelProto, secret: Path, where: str) -> ModelProto:
    """Let a model's numbers lie in another file, in one of the places a tensor can stand."""
    tensor = TensorProto(name="all_boxes", data_type=TensorProto.FLOAT, dims=[1, 1, 4])
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", os.path.relpath(secret, Path.cwd())
    if where == "initializer":
        model.graph.initializer[0].CopyFrom(tensor)
        return model
    constant = helper.make_node("Constant", [], ["secret"])
    constant.attribute.add(name="value", type=onnx.AttributeProto.TENSOR).t.CopyFrom(tensor)
    if where == "attribute":
        model.graph.node.insert(0, constant)
        return model
    ends = [helper.make_tensor_value_info("secret", TensorProto.FLOAT, None)]
    inner = helper.make_graph([constant], "inner", [], ends)
    condition = helper.make_tensor("yes", TensorProto.BOOL, [], [True])
    model.graph.initializer.append(condition)
    choice = helper.make_node("If", ["yes"], ["chosen"], then_branch=inner, else_branch=inner)
    model.graph.node.insert(0, choice)
    return model


@pytest.mark.parametrize("backend", ["onnx", "openvino"])
@pytest.mark.parametrize("where", ["initializer", "attribute", "inner graph"])
def test_no_other_file_is_read(
    tmp_path: Path, where: str, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if backend == "openvino":
        pytest.importorskip("openvino")
    (tmp_path / "inside").mkdir()
    monkeypatch.chdir(tmp_path / "inside")
    secret = tmp_path / "inside" / "secret.bin"
    secret.write_bytes(np.array([1, 2, 3, 4], dtype=np.float32).tobytes())
    file = saved(outside(pretending(), secret, where), tmp_path / "inside")
    with pytest.raises(UserError, match="keeps numbers in other files"):
        open_file(file, backend)


def test_operators_of_others_are_not_run(tmp_path: Path) -> None:
    model = pretending(helper.make_node("EPContext", [], ["x"], domain="com.microsoft"))
    with pytest.raises(UserError, match=r"has operators of 'com\.microsoft'"):
        open_file(saved(model, tmp_path))


@pytest.mark.parametrize("content", [b"", b"ORTM", b"no model at all", bytes(1000), b"\x08" * 99])
def test_what_is_no_model_is_said_in_a_line(tmp_path: Path, content: bytes) -> None:
    for name in ("a.onnx", "a.xml"):
        if name == "a.xml":
            pytest.importorskip("openvino")
            (tmp_path / "a.bin").write_bytes(b"x")
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError) as caught:
            open_file(tmp_path / name)
        assert name in str(caught.value) and "\n" not in str(caught.value)


def test_a_damaged_model_is_said_in_a_line(tmp_path: Path) -> None:
    whole = pretending().SerializeToString()
    random = np.random.default_rng(0)
    for _ in range(60):
        content = bytearray(whole)
        for place in random.integers(0, len(whole), 4).tolist():
            content[place] = int(random.integers(256))
        (tmp_path / "a.onnx").write_bytes(bytes(content[: int(random.integers(1, len(whole) + 1))]))
        try:
            predictor = Predictor.load(tmp_path / "a.onnx", device="cpu")
            predictor(GREY)
        except UserError as error:
            assert "a.onnx" in str(error) or "not finite" in str(error)


@pytest.mark.parametrize(
    "text", [b"all_boxes", b"Identity", b"images", b"class_names", b"cat", b"labels", b"MIT"]
)
def test_text_that_is_none_is_said_in_a_line(
    tmp_path: Path, text: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    content = pretending().SerializeToString()
    assert text in content
    (tmp_path / "a.onnx").write_bytes(content.replace(text, b"\xff" + text[1:]))
    for backend in ("onnx", "openvino"):
        if backend == "openvino" and find_spec("openvino") is None:
            continue
        with pytest.raises(UserError, match=r"a\.onnx") as caught:
            open_file(tmp_path / "a.onnx", backend)
        assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_what_is_none_of_ours_and_what_is_not_there(tmp_path: Path) -> None:
    other = pretending()
    other.graph.input[0].name = "input"
    with pytest.raises(UserError, match="none of the files that fcos-convert writes"):
        open_file(saved(other, tmp_path))
    silent = pretending()
    del silent.metadata_props[:]
    with pytest.raises(UserError, match="does not say what fcos-convert writes"):
        open_file(saved(silent, tmp_path))
    with pytest.raises(UserError, match=r"absent\.onnx cannot be read: No such file"):
        open_file(tmp_path / "absent.onnx")
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(UserError, match=r"folder\.onnx cannot be read: Is a directory"):
        open_file(tmp_path / "folder.onnx")
    os.mkfifo(tmp_path / "pipe.onnx")
    with pytest.raises(UserError, match=r"pipe\.onnx cannot be read: it is no file"):
        open_file(tmp_path / "pipe.onnx")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"decoder": {"nms_iou": 0.4}}, "decoder= is settled in"),
        ({"recipe": "plain"}, "recipe= is settled in"),
        ({"channels_last": True}, "channels_last= is settled in"),
        ({"channels_last": False}, "channels_last= is settled in"),
        ({"head": torch.nn.Identity()}, "head= is settled in"),
        ({"backend": "torch"}, "backend=torch: .*model.onnx is an ONNX model"),
        ({"backend": "tensorrt"}, "backend=tensorrt: give auto, torch, onnx or openvino"),
        ({"device": "cuda"}, "device=cuda: this onnxruntime has"),
        ({"device": "mps"}, "device=mps: this onnxruntime has"),
        ({"shorter_side": 100}, "longer_side=96 is below shorter_side=100"),
        ({"thresholds": {"cow": 0.5}}, "no class 'cow'"),
    ],
)
def test_options_that_a_file_does_not_take(
    tmp_path: Path, options: dict[str, object], message: str
) -> None:
    file = saved(pretending(), tmp_path)
    with pytest.raises(UserError, match=message):
        Predictor.load(file, **{"device": "cpu", **options})  # type: ignore[arg-type]


def test_a_file_of_one_size_takes_no_other(tmp_path: Path) -> None:
    fixed = '{"shorter_side": null, "longer_side": null, "height_width": [50, 80]}'
    file = saved(pretending(boxes=((0, 0, 80, 50), (60, 2, 70, 40)), scores=(0.9, 0.8),
                            labels=(0, 1), size=fixed), tmp_path)  # fmt: skip
    predictor = Predictor.load(file, device="cpu")
    # 100 x 100 is shrunk to 50 x 50; what lies in the black beside it is no box.
    found = predictor(np.full((100, 100, 3), 90, np.uint8))
    assert found.boxes_xyxy.tolist() == [[0, 0, 100, 100]]
    with pytest.raises(UserError, match="takes images of 50x80 pixels only"):
        Predictor.load(file, device="cpu", shorter_side=50)


def test_engines_that_are_not_installed_say_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = saved(pretending(), tmp_path)
    (tmp_path / "model.xml").write_text("<net/>")
    for name in ("onnxruntime", "openvino"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UserError, match=r"ONNX needs onnxruntime, .*pip install"):
        open_file(file)
    for one in (file, tmp_path / "model.xml"):
        with pytest.raises(UserError, match="OpenVINO is not installed; pip install"):
            open_file(one, "openvino")


def test_which_engine_runs_what() -> None:
    assert backend_for("best.ckpt", "auto") == "torch"
    assert backend_for("best.ckpt", "openvino") == "openvino"
    assert backend_for("MODEL.ONNX", "auto") == "onnx"
    assert backend_for("model.onnx", "openvino") == "openvino"
    assert backend_for("model.xml", "auto") == "openvino"
    with pytest.raises(UserError, match=r"model\.xml is an OpenVINO model"):
        backend_for("model.xml", "onnx")
