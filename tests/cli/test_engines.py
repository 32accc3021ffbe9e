"""Converted files, and checkpoints on other engines, by the commands."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.cli.running import Command
from tests.inference.scenes import SIDES, write_checkpoint

from fcos_lightning.data.images import read_image

COCO = ("data=coco", "data.root=data", "data.val_split=val", "data.num_workers=0")
QUIET = ("trainer.accelerator=cpu", "trainer.enable_progress_bar=false")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint") / "best.ckpt", **SIDES)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where what was converted lies between tests."""
    return tmp_path_factory.mktemp("converted")


@pytest.fixture
def converted(command: Command, checkpoint: Path, kept: Path, tmp_path: Path) -> Path:
    """A folder with ``model.onnx``, ``fixed.onnx`` and, where OpenVINO is, ``model.xml``."""
    if not any(kept.iterdir()):
        for words in (("out=model.onnx", "license=MIT"), ("out=fixed.onnx", "size=64x96")):
            result = command("convert", str(checkpoint), *words)
            assert result.code == 0, result.err
            # A checkpoint that names no data is compared on drawn images.
            assert "equal to torch on 20 drawn images" in result.out
        for file in tmp_path.glob("*.onnx"):
            shutil.copy(file, kept)
    return kept


def write_data(root: Path) -> None:
    for split, count in (("train", 1), ("val", 4)):
        images, annotations = [], []
        for number in range(1, count + 1):
            height, width = (100, 150) if number % 2 else (160, 90)
            small = np.random.default_rng(number).integers(0, 256, (5, 7, 3), dtype=np.uint8)
            picture = Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)
            (root / split).mkdir(parents=True, exist_ok=True)
            picture.save(root / split / f"{number}.png")
            images.append(
                {"id": number, "file_name": f"{number}.png", "width": width, "height": height}
            )
            annotations.append(
                {"id": number, "image_id": number, "category_id": 7, "bbox": [9, 9, 30, 30],
                 "area": 900, "iscrowd": 0}
            )  # fmt: skip
        content = {
            "images": images,
            "annotations": annotations,
            "categories": [{"id": 7, "name": "cat"}, {"id": 90, "name": "dog"}],
        }
        place = root / "annotations" / f"instances_{split}.json"
        place.parent.mkdir(exist_ok=True)
        place.write_text(json.dumps(content))


def rows(folder: Path) -> dict[tuple[object, object], np.ndarray]:
    """Boxes and scores by image and class."""
    found: dict[tuple[object, object], list[list[float]]] = {}
    for row in json.loads((folder / "predictions.json").read_text()):
        found.setdefault((row["image_id"], row["category_id"]), []).append(
            [*row["bbox"], row["score"] * 500]
        )
    return {key: np.array(sorted(boxes, key=lambda one: -one[4])) for key, boxes in found.items()}


def assert_alike(one: Path, other: Path) -> None:
    ours, theirs = rows(one), rows(other)
    assert ours.keys() == theirs.keys() and ours
    for key, boxes in ours.items():
        assert len(boxes) == len(theirs[key])
        assert np.abs(boxes[:, None] - theirs[key]).max(axis=2).min(axis=1).max() < 0.05


def test_predict_and_test_give_the_same_by_any_engine(
    command: Command, checkpoint: Path, converted: Path, tmp_path: Path
) -> None:
    write_data(tmp_path / "data")
    engines = [("torch", checkpoint, ()), ("file", converted / "model.onnx", ())]
    engines.append(("onnx", checkpoint, ("backend=onnx",)))
    for name, ckpt, more in engines:
        words = (f"ckpt={ckpt}", "source=data/val", "score_threshold=0", "draw=true")
        result = command("predict", *words, f"out=seen_{name}", "save=[coco]", *more)
        assert result.code == 0, result.err
        assert (tmp_path / f"seen_{name}/1.png").is_file()
        result = command(
            "test", f"ckpt={ckpt}", *COCO, *QUIET, "data.eval_batch_size=1", *more,
            f"run_dir=run_{name}",
        )  # fmt: skip
        assert result.code == 0, result.err
        assert "shorter side 64, longer at most 96" in result.out
        assert "NMS at 0.6, at most 20 an image" in result.out
    figures = [
        json.loads((tmp_path / f"run_{name}/metrics.json").read_text()) for name, *_ in engines
    ]
    for name, *_ in engines[1:]:
        assert_alike(tmp_path / "seen_torch", tmp_path / f"seen_{name}")
        assert_alike(tmp_path / "run_torch", tmp_path / f"run_{name}")
    assert figures[0]["AP"] is not None and figures[0]["AR100"] > 0
    assert figures[1]["AP"] == pytest.approx(figures[0]["AP"], abs=1e-6)
    assert figures[2]["AP"] == pytest.approx(figures[0]["AP"], abs=1e-6)
    labels = json.loads((tmp_path / "seen_file/coco/annotations.json").read_text())
    assert [one["name"] for one in labels["categories"]] == ["cat", "dog"]
    # The model of a checkpoint lies beside its figures; a file is there already.
    assert (tmp_path / "run_onnx/model.onnx").is_file()
    assert not (tmp_path / "run_file/model.onnx").exists()


def test_tiles_work_with_a_file(
    command: Command, checkpoint: Path, converted: Path, tmp_path: Path
) -> None:
    write_data(tmp_path / "data")
    tiled = ("tiles=64x64", "tiles_overlap=0.25")
    for name, ckpt in (("torch", checkpoint), ("file", converted / "model.onnx")):
        result = command("test", f"ckpt={ckpt}", *COCO, *QUIET, *tiled, f"run_dir=run_{name}")
        assert result.code == 0, result.err
        assert "in tiles of 64x64 pixels, each shorter side 64" in result.out
    assert_alike(tmp_path / "run_torch", tmp_path / "run_file")


def test_a_file_of_one_size_measures_as_it_predicts(
    command: Command, converted: Path, tmp_path: Path
) -> None:
    write_data(tmp_path / "data")
    ckpt = f"ckpt={converted / 'fixed.onnx'}"
    assert command("predict", ckpt, "source=data/val", "score_threshold=0", "out=seen").code == 0
    result = command("test", ckpt, *COCO, *QUIET, "run_dir=run")
    assert result.code == 0, result.err
    assert "images of 64x96 pixels" in result.out
    assert_alike(tmp_path / "seen", tmp_path / "run")
    for row in json.loads((tmp_path / "run/predictions.json").read_text()):
        height, width = read_image(tmp_path / f"data/val/{row['image_id']}.png").shape[:2]
        x, y, w, h = row["bbox"]
        assert min(x, y, w, h) >= 0 and x + w <= width + 0.01 and y + h <= height + 0.01


def test_what_a_file_does_not_take_is_one_line(
    command: Command, converted: Path, checkpoint: Path, tmp_path: Path
) -> None:
    write_data(tmp_path / "data")
    model, fixed = converted / "model.onnx", converted / "fixed.onnx"
    seen = ("source=data/val", "out=out")
    for name, words, said in (
        (
            "predict",
            (f"ckpt={model}", *seen, "decoder.nms_iou=0.4"),
            "decoder.nms_iou= is settled",
        ),
        ("predict", (f"ckpt={model}", *seen, "channels_last=true"), "channels_last= is settled"),
        ("predict", (f"ckpt={model}", *seen, "model=tiny"), "model= is settled"),
        ("predict", (f"ckpt={model}", *seen, "backend=torch"), "model.onnx is an ONNX model"),
        ("predict", (f"ckpt={model}", *seen, "device=cuda"), "device=cuda: this onnxruntime has"),
        ("predict", (f"ckpt={fixed}", *seen, "shorter_side=32"), "takes images of 64x96 pixels"),
        ("predict", ("ckpt=absent.onnx", *seen), "absent.onnx cannot be read: No such file"),
        ("predict", (f"ckpt={checkpoint}", *seen, "backend=tensorrt"), "backend=tensorrt: give"),
        ("test", (f"ckpt={model}",), "it does not say which data; give data=NAME"),
        ("test", (f"ckpt={model}", *COCO, "test.tta=multiscale"), "merged before NMS, which"),
        ("test", (f"ckpt={model}", *COCO, "report=true"), "report=true: tells of levels"),
        ("test", (f"ckpt={fixed}", *COCO, "data.shorter_side=32"), "images of 64x96 pixels only"),
        ("test", (f"ckpt={model}", *COCO, "decoder.nms_iou=0.4"), "decoder.nms_iou= is settled"),
        ("report", (f"ckpt={model}",), "is a file for other programs"),
        ("explain", (f"ckpt={model}",), "is a file for other programs"),
        ("doctor", (f"ckpt={model}", "data.root=data"), "is a file for other programs"),
        ("convert", (str(model), "out=a.safetensors"), "is a file for other programs"),
        ("train", ("experiment=quickstart", f"init_from={model}"), "is a file for other programs"),
    ):
        result = command(name, *words)
        assert result.code == 2 and said in result.err, (words, result.err)
        assert len(result.err.strip().splitlines()) == 1, result.err
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix != ".onnx") == ["data"]
