"""fcos-convert where it writes files for other programs."""

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from tests.cli.running import Command

from fcos_lightning import build_fcos, load_detector
from fcos_lightning.checkpoints import describe
from fcos_lightning.data.shapes import CLASS_NAMES, default_cache, write_shapes
from fcos_lightning.errors import UserError
from fcos_lightning.runs.converting import command as converting

#: Of the drawn data set, as small as it may be.
DATA = {"train_images": 8, "val_images": 8, "image_px": 64, "num_workers": 0}


@pytest.fixture
def ckpt(tmp_path: Path) -> Path:
    """A checkpoint that names its data, and finds something everywhere without having learnt."""
    torch.manual_seed(0)
    detector = build_fcos(
        num_classes=len(CLASS_NAMES),
        class_names=list(CLASS_NAMES),
        category_ids=list(range(1, len(CLASS_NAMES) + 1)),
        backbone={"name": "tiny", "widths": [8, 8, 16, 16]},
        fpn={"channels": 16, "levels": [3, 4, 5]},
        head={"num_convs": 1, "prior": 0.2},
    )
    with torch.no_grad():
        detector.head.cls_logits.weight.normal_(std=0.2)
        detector.head.box_ltrb.bias.fill_(1.5)
    about = describe(detector, data_choice="shapes", data=DATA, shorter_side=64, longer_side=64)
    weights = {f"detector.{key}": value for key, value in detector.state_dict().items()}
    torch.save({"state_dict": weights, "fcos": about}, tmp_path / "best.ckpt")
    return tmp_path / "best.ckpt"


@pytest.fixture
def drawn(cache_folder: Path) -> None:
    """The data set of the checkpoint, in the cache."""
    write_shapes(default_cache(train=8, val=8, size=64), train=8, val=8, size=64)


@pytest.mark.usefixtures("drawn")
def test_final_boxes_are_compared_on_the_data_of_the_checkpoint(
    command: Command, ckpt: Path, tmp_path: Path
) -> None:
    words = (f"ckpt={ckpt}", "license=MIT", "decoder.max_detections=7")
    result = command("convert", *words, "out=models/small.onnx")
    assert result.code == 0 and result.err == ""
    said = "in models/small.onnx; equal to torch on 20 images of instances_val and drawn ones: "
    assert said in result.out and "nothing was found" not in result.out
    session = onnxruntime.InferenceSession(tmp_path / "models/small.onnx")
    about = session.get_modelmeta().custom_metadata_map
    assert about["license"] == "MIT" and json.loads(about["decoder"])["max_detections"] == 7
    assert json.loads(about["size"])["shorter_side"] == 64
    image = np.random.default_rng(0).integers(0, 256, (3, 50, 70), dtype=np.uint8)
    boxes, scores, labels = session.run(None, {"images": image[None]})
    (wanted,) = load_detector(ckpt, decoder={"max_detections": 7}).detect([torch.from_numpy(image)])
    assert len(wanted) and labels[0].tolist() == wanted.labels.tolist()
    np.testing.assert_allclose(boxes[0], wanted.boxes_xyxy.numpy(), atol=0.01)
    np.testing.assert_allclose(scores[0], wanted.scores.numpy(), atol=1e-5)


def test_without_its_data_drawn_images_will_do_and_are_named(
    command: Command, ckpt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "empty"))
    words = (f"ckpt={ckpt}", "size=64x96", "out=small.onnx")
    result = command("convert", *words)
    assert result.code == 0, result.err
    assert "equal to torch on 20 drawn images: " in result.out
    assert not (tmp_path / "empty").exists()
    (given,) = onnxruntime.InferenceSession(tmp_path / "small.onnx").get_inputs()
    assert given.shape == ["batch", 3, 64, 96]

    def differs(*args: object) -> None:
        raise UserError("nothing is written, as its detections differ from torch's: image 1")

    before = (tmp_path / "small.onnx").read_bytes()
    monkeypatch.setattr(converting, "check_same", differs)
    result = command("convert", *words, "overwrite=true")
    assert result.code == 2 and "differ from torch's: image 1" in result.err
    assert (tmp_path / "small.onnx").read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"best.ckpt", "small.onnx"}


def test_integers_are_written_only_where_ap_stays(
    command: Command, ckpt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (f"ckpt={ckpt}", "precision=int8", "size=64x64", "out=small.onnx")
    monkeypatch.setattr(converting, "ALLOWED", -1.0)  # it would have to rise by that
    result = command("convert", *words)
    assert result.code == 2 and len(result.err.strip().splitlines()) == 1
    assert "precision=int8: AP 0." in result.err and "layers whose answers differ" in result.err
    assert "head." in result.err or "backbone." in result.err
    assert not (tmp_path / "small.onnx").exists()
    monkeypatch.setattr(converting, "ALLOWED", 1.0)
    result = command("convert", *words, "limit=5")
    assert result.code == 0, result.err
    assert " in torch, on 5 images of instances_val" in result.out
    session = onnxruntime.InferenceSession(tmp_path / "small.onnx")
    assert session.get_modelmeta().custom_metadata_map["precision"] == "int8"


def test_a_page_is_a_new_folder_with_all_it_needs(
    command: Command, ckpt: Path, tmp_path: Path
) -> None:
    words = (f"ckpt={ckpt}", "out=demo/", "size=64x64")
    (tmp_path / "dist").mkdir()
    (tmp_path / "dist/ort.wasm.min.js").write_text("one of three")
    result = command("convert", *words, "onnxruntime_web=dist")
    assert result.code == 2 and "ort-wasm-simd-threaded.mjs is missing there" in result.err
    assert not (tmp_path / "demo").exists()
    result = command("convert", *words)
    assert result.code == 0 and "equal to torch on 20 " in result.out, result.err
    assert "put ort.wasm.min.js, " in result.out
    made = {path.name for path in (tmp_path / "demo").iterdir()}
    assert made == {"index.html", "detect.js", "shown.js", "about.json", "model.onnx"}
    about = json.loads((tmp_path / "demo/about.json").read_text())
    assert about["size"]["height_width"] == [64, 64] and "triangle" in about["class_names"]
    result = command("convert", *words)
    assert result.code == 2 and "a page is there already; give another folder" in result.err
    (tmp_path / "demo/notes.txt").write_text("mine")
    before = (tmp_path / "demo/about.json").read_bytes()
    result = command("convert", *words[:2], "size=32x64", "overwrite=true")
    assert result.code == 0, result.err
    assert (tmp_path / "demo/about.json").read_bytes() != before
    assert (tmp_path / "demo/notes.txt").read_text() == "mine"
    (tmp_path / "demo/about.json").unlink()  # no page of ours any more
    result = command("convert", *words, "overwrite=true")
    assert result.code == 2 and "out=demo/: is not empty; give a folder" in result.err
    for name in ("ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm"):
        (tmp_path / "dist" / name).write_text(name)
    result = command("convert", words[0], "out=other/", words[2], "onnxruntime_web=dist")
    assert result.code == 0 and "put " not in result.out, result.err
    assert len(list((tmp_path / "other").iterdir())) == 8


def test_mistakes_are_one_line(command: Command, ckpt: Path, tmp_path: Path) -> None:
    theirs = ("a.bin", "b.onnx", "b.pt2", "b.xml")
    for name in theirs:
        (tmp_path / name).write_text("somebody's own")
    for words, said in (
        (("out=a.onnx", "size=64"), "size=64: give height and width in pixels, as 800x1344"),
        (("out=a.onnx", "size=0x64"), "size=0x64: give height and width"),
        (("out=a.onnx", "precision=int4"), "precision=int4: give fp32, fp16, int8"),
        (("out=a.xml", "nms=false"), "nms=false: of a.xml there is no such kind"),
        (("out=a.onnx", "nms=false", "size=64x64"), "leave size= and precision= out"),
        (("out=a.xml",), "its weights would be a.bin, which is there"),
        (("out=a.pt2", "precision=fp16"), "precision=fp16: .pt2 is fp32"),
        (("out=b.onnx",), "out=b.onnx: is there already; give another name, or overwrite=true"),
        (("out=b.pt2",), "out=b.pt2: is there already"),
        (("out=b.xml",), "out=b.xml: is there already"),
        (("out=a.onnx", "overwrite=maybe"), "overwrite=maybe: give true or false"),
        (("out=a.onnx", "nms=maybe"), "nms=maybe: give true or false"),
        (("out=a.onnx", "onnxruntime_web=dist"), "is for a page; give out=FOLDER/"),
        (("out=a/", "nms=false"), "nms=false: of a there is no such kind"),
        (("out=a.onnx", "limit=0"), "limit=0: give 1 or more"),
        (("out=a.onnx", "data=coco", "data.root=nowhere"), "nowhere"),
        (
            ("out=a.onnx", "precision=int8", "data=coco", "data.root=nowhere"),
            "precision=int8: AP is measured before anything is written",
        ),
    ):
        result = command("convert", f"ckpt={tmp_path}/best.ckpt", *words)
        assert result.code == 2 and said in result.err, (words, result.err)
        assert len(result.err.strip().splitlines()) == 1
    assert {path.name for path in tmp_path.iterdir()} == {"best.ckpt", *theirs}
    assert {(tmp_path / name).read_text() for name in theirs} == {"somebody's own"}
