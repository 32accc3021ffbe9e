"""Whatever is wrong: one clear line, status 2, nothing written."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.cli.running import SMALL, Command

NET = tuple(word for word in SMALL if word.startswith(("model.", "callbacks.")))
COCO = (
    "experiment=quickstart",
    "data=coco",
    "data.root=set",
    "data.train_split=train",
    "data.val_split=val",
    "data.shorter_side=64",
    "data.longer_side=64",
    "data.batch_size=2",
    "data.num_workers=0",
    "trainer.max_steps=2",
    *NET,
)


def coco(root: Path, **changes: object) -> None:
    """Write a sound data set of four images, and then what the test changes in it."""
    random = np.random.default_rng(0)
    for split in ("train", "val"):
        (root / split).mkdir(parents=True)
        (root / "annotations").mkdir(exist_ok=True)
        content = {
            "images": [
                {"id": i, "file_name": f"{i}.jpg", "width": 64, "height": 48} for i in range(4)
            ],
            "annotations": [
                {"id": i, "image_id": i, "category_id": 1, "bbox": [5, 5, 20, 20]} for i in range(4)
            ],
            "categories": [{"id": 1, "name": "thing"}],
        }
        for i in range(4):
            pixels = random.integers(0, 255, (48, 64, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / split / f"{i}.jpg")
        content |= changes
        (root / f"annotations/instances_{split}.json").write_text(json.dumps(content))


def refused(command: Command, tmp_path: Path, *words: str, name: str = "train") -> str:
    before = sorted(tmp_path.rglob("*"))
    result = command(name, *words)
    assert result.code == 2, (result.out, result.err)
    lines = [line for line in result.err.splitlines() if line.strip()]
    assert "Traceback" not in result.err
    assert sorted(tmp_path.rglob("*")) == before, "something was written"
    assert len(lines) == 1 and lines[0].startswith("error: "), result.err
    return lines[0]


def test_a_sound_one_trains(command: Command, tmp_path: Path) -> None:
    coco(tmp_path / "set")
    assert command("train", *COCO).code == 0


def test_no_coco_says_which_files_where_and_what_else_to_do(
    command: Command, tmp_path: Path
) -> None:
    said = refused(command, tmp_path, "model=r50", "trainer.devices=8")
    for part in (
        "the folder data.root=datasets/coco is missing",
        "download_coco.py",
        "data.root",
        "data=shapes",
    ):
        assert part in said


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (lambda s: shutil.rmtree(s / "val"), "set/val does not exist"),
        (
            lambda s: (s / "annotations/instances_val.json").unlink(),
            "no set of images called val; there is only train",
        ),
        (
            lambda s: (s / "annotations/instances_train.json").write_text("[]"),
            "instances_train.json",
        ),
        (
            lambda s: (s / "annotations/instances_train.json").write_text("{"),
            "instances_train.json",
        ),
        (lambda s: (s / "train/2.jpg").unlink(), "2.jpg"),
    ],
)
def test_broken_data_is_named(
    command: Command, tmp_path: Path, break_it: object, said: str
) -> None:
    coco(tmp_path / "set")
    break_it(tmp_path / "set")  # type: ignore[operator]
    assert said in refused(command, tmp_path, *COCO)


@pytest.mark.parametrize(
    ("changes", "words", "said"),
    [
        ({"images": []}, (), "no image"),
        ({"categories": []}, (), "categor"),
        (
            {"annotations": [{"id": 1, "image_id": 1, "category_id": 5, "bbox": [1, 1, 2, 2]}]},
            (),
            "5",
        ),
        (
            {"annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [9, 9, -2, 4]}]},
            ("data.strict=true",),
            "zero or negative size",
        ),
        (
            {"annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [9, 9, None, 4]}]},
            ("data.strict=true",),
            "NaN",
        ),
    ],
)
def test_annotations_that_lie_are_named(
    command: Command, tmp_path: Path, changes: dict[str, object], words: tuple[str], said: str
) -> None:
    coco(tmp_path / "set", **changes)
    assert said in refused(command, tmp_path, *COCO, *words)


def test_bad_boxes_are_dropped_and_counted_unless_strict(command: Command, tmp_path: Path) -> None:
    boxes = [[9, 9, -2, 4], [9, 9, None, 4], [5, 5, 20, 20], [500, 500, 9, 9]]
    coco(
        tmp_path / "set",
        annotations=[
            {"id": i, "image_id": i, "category_id": 1, "bbox": box} for i, box in enumerate(boxes)
        ],
    )
    result = command("train", *COCO)
    assert result.code == 0, result.err
    (line,) = [line for line in result.out.splitlines() if line.startswith("dropped")]
    assert "2 boxes of zero or negative size" in line
    assert "2 boxes with NaN" in line and "2 boxes outside the image" in line


def test_without_a_box_to_find_there_is_no_ap_and_the_last_weights_are_kept(
    command: Command, tmp_path: Path
) -> None:
    coco(tmp_path / "set")
    file = tmp_path / "set/annotations/instances_val.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"annotations": []}))
    words = [word for word in COCO if not word.startswith("trainer.max_steps")]
    result = command("train", *words, "schedule.max_epochs=3", "run_dir=run")
    assert result.code == 0, result.err
    assert "val has not one box: there is no AP" in result.out
    assert "the split has no box to be found, so there is no AP" in result.out
    assert ", AP -, " in result.out
    assert json.loads((tmp_path / "run/metrics.json").read_text())["AP"] is None
    best = torch.load(tmp_path / "run/checkpoints/best.ckpt", weights_only=True)
    assert best["global_step"] == 6
    (tmp_path / "set/annotations/instances_train.json").write_text(file.read_text())
    result = command("train", *words, "schedule.max_epochs=1", "run_dir=other")
    assert result.code == 2 and len(result.err.splitlines()) == 1
    assert "train: not one box to learn from; see that data.root" in result.err
    assert not (tmp_path / "other").exists()


def test_odd_annotations_are_said_with_their_split(command: Command, tmp_path: Path) -> None:
    boxes = [{"id": i, "image_id": i, "category_id": 1, "bbox": [20, 20, 60, 40]} for i in range(4)]
    coco(tmp_path / "set", annotations=[{**boxes[0], "area": 0}, *boxes[1:]])
    result = command("train", *COCO)
    assert result.code == 0, result.err
    notes = [line for line in result.out.splitlines() if line.startswith("note")]
    for split in ("train", "val"):
        own = [note for note in notes if f"{split}: " in note]
        for said in ("1 of 1 areas cannot be", "4 of 4 boxes stick out", "x1, y1, x2, y2"):
            assert any(said in note for note in own), result.out


@pytest.mark.parametrize("workers", [0, 1])
def test_an_unreadable_image_is_named_or_skipped(
    command: Command, tmp_path: Path, workers: int
) -> None:
    coco(tmp_path / "set")
    whole = (tmp_path / "set/train/1.jpg").read_bytes()
    (tmp_path / "set/train/1.jpg").write_bytes(whole[: len(whole) // 2])
    words = [word for word in COCO if "num_workers" not in word]
    result = command("train", *words, f"data.num_workers={workers}", "run_dir=stopped")
    assert result.code == 2 and "Traceback" not in result.err
    (line,) = [line for line in result.err.splitlines() if line.startswith("error:")]
    assert "1.jpg" in line
    skipped = command("train", *words, f"data.num_workers={workers}", "data.on_bad_image=skip")
    assert skipped.code == 0, skipped.err
    assert "1 unreadable images were skipped" in skipped.out and "1.jpg" in skipped.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("data.batch_size=0",), "data.batch_size=0"),
        (("data.on_bad_image=maybe",), "data.on_bad_image=maybe"),
        (("model.loss.box_loss=siou",), "siou"),
        (("model.backbone.name=vgg16",), "vgg16"),
        (("schedule.decay=poly",), "schedule.decay=poly"),
        (("trainer.accelerator=gpux",), "gpux"),
        (("trainer.precision=12",), "12"),
        (("model.backbone.name=resnet18",), "takes no option widths"),
        (("+callbacks.x._target_=os.system",), "os is not trusted"),
        (("+callbacks.x._target_=lightning.pytorch.callbacks.Nothing",), "Nothing"),
        (("+model.fancy=1",), "fancy"),
        (("+data.fancy=1",), "fancy"),
    ],
)
def test_wrong_settings_are_named(
    command: Command, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    kept = [word for word in SMALL if not word.startswith("data.batch_size")]
    assert said in refused(command, tmp_path, *kept, *words)


def test_weights_that_are_none_are_named(command: Command, tmp_path: Path) -> None:
    words = ("model=r18", "data=shapes", "data.train_images=24", "data.val_images=8")
    said = refused(command, tmp_path, *words, "data.image_px=64", "model.backbone.weights=none.pth")
    assert "none.pth: no such file" in said


def test_a_mistyped_override_keeps_the_hint_of_hydra(command: Command, tmp_path: Path) -> None:
    result = command("train", "modle=r50")
    assert result.code == 2 and "modle" in result.err and "Traceback" not in result.err
    result = command("train", "model=r51")
    assert result.code == 2 and "r101" in result.err  # the choices there are
    result = command("train", "schedule.lrr=1")
    assert result.code == 2 and "lrr" in result.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "ckpt= is missing"),
        (("ckpt=none.ckpt",), "none.ckpt: no such file"),
        (("ckpt=text.ckpt",), "text.ckpt"),
    ],
)
def test_checkpoints_that_are_none(
    command: Command, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    (tmp_path / "text.ckpt").write_text("hello")
    assert said in refused(command, tmp_path, *words, name="test")
