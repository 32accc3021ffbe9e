"""What hurried people type: each slip ends in one line that names it, and leaves nothing behind."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from PIL import Image
from tests.cli.running import SMALL, Command

from fcos_lightning.checkpoints.native import describe
from fcos_lightning.data.shapes import CLASS_NAMES
from fcos_lightning.detector import build_fcos

QUICK = (*SMALL, "schedule.max_epochs=1", "logger=none", "trainer.accelerator=cpu")


@pytest.fixture(scope="module")
def ckpt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("checkpoint") / "best.ckpt"
    detector = build_fcos(
        num_classes=len(CLASS_NAMES),
        class_names=list(CLASS_NAMES),
        category_ids=list(range(1, len(CLASS_NAMES) + 1)),
        backbone={"name": "tiny", "weights": None, "norm": "trained"},
        fpn={"channels": 8, "levels": [3, 4]},
        head={"num_convs": 1, "norm": "none"},
        assigner={"size_ranges": [[-1, 64], [64, float("inf")]]},
    )
    weights = {f"detector.{key}": value for key, value in detector.state_dict().items()}
    about = describe(detector, shorter_side=64, longer_side=64)
    torch.save({"state_dict": weights, "fcos": about}, path)
    return path


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("schedule.reference_batch=0", "schedule.reference_batch=0: give at least 1"),
        ("schedule.lr=nan", "schedule.lr=nan: give a number above 0"),
        ("schedule.weight_decay=-1", "schedule.weight_decay=-1: give a number of at least 0"),
        ("schedule.warmup_steps=-1", "schedule.warmup_steps=-1"),
        ("+schedule.milestones=[-5]", "schedule.milestones=-5"),
        ("+schedule.optimizer.betas=3", "schedule.optimizer: "),
        ("model.fpn.channels=0", "model.fpn.channels=0: give at least 1"),
        ("model.backbone.widths=[8]", "model.backbone.widths=[8]: give 4 whole numbers"),
        ("model.backbone.widths=x", "model.backbone.widths='x'"),
        ("model.decoder.max_detections=-1", "model.decoder.max_detections=-1"),
        ("model.decoder.topk_per_level=0", "model.decoder.topk_per_level=0"),
        ("model.decoder.nms_iou=2", "model.decoder.nms_iou=2.0: give a number in [0, 1]"),
        ("data.num_workers=500", "data.num_workers=500: give 0 to 64"),
        ("data.num_workers=-1", "data.num_workers=-1"),
        ("data.batch_size=100000", "has only 24 images to fill it with"),
        ("data.shorter_side=100000", "data.shorter_side=100000: give at most 10000 pixels"),
        ("trainer.devices=64", "trainer.devices=64: without a GPU each is a process of its own"),
        ("trainer.precision=bf16-true", "give 32-true, bf16-mixed"),
        ("trainer.limit_train_batches=0.01", "Lightning refuses these settings: "),
        ("callbacks.previews.images=-1", "callbacks.previews.images=-1"),
        ("augment=null", "configuration: "),
        ("schedule.lr=0,5", "say schedule.lr=0.5, or for a list schedule.lr=[0,5]; to run each"),
        ("model=r18,r50", "model=r18,r50: choose one; to run each of them add -m"),
        ("photos/it", "photos/it: settings are given with their names; say data.root=photos/it"),
        ("a/best.ckpt", "say init_from=a/best.ckpt"),
        ("run_dir=/proc/x", "run_dir=/proc/x: cannot be made"),
        ("run_dir=" + "a/" * 2000 + "b", "cannot be made: "),
    ],
)
def test_in_training(
    command: Command, monkeypatch: pytest.MonkeyPatch, word: str, said: str
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1}, raising=False)
    run_dir = () if word.startswith("run_dir=") else ("run_dir=r",)
    result = command("train", *QUICK, *run_dir, word)
    assert result.code == 2, result.err
    (line,) = [line for line in result.err.splitlines() if "Warning" not in line and line.strip()]
    assert line.startswith("error: ") and said in line and len(line) <= 620
    assert not Path("r").exists()


@pytest.mark.parametrize(
    ("name", "word", "said"),
    [
        ("predict", "draw=maybe", "draw=maybe: give true or false"),
        ("predict", "draw=null", "draw=null: give true or false"),
        ("predict", "decoder=x", "decoder=x: give settings or null"),
        ("predict", "decoder.max_detections=0", "max_detections=0: give a number of at least 1"),
        ("predict", "score_threshold=null", "score_threshold=null: give a number"),
        (
            "predict",
            "shorter_side=99999 longer_side=99999",
            "shorter_side=99999: give at most 10000 pixels",
        ),
        ("predict", "out=" + "a/" * 2000 + "b", "too many folders in each other"),
        ("predict", "source=" + "x" * 5000, "File name too long"),
        ("predict", "r/a.ckpt b.jpg", "r/a.ckpt: settings are given with their names; say ckpt=r/"),
        ("predict", "r/a.ckpt b.jpg", "a.ckpt source=b.jpg"),
        ("predict", "score_threshold=0,5", "say score_threshold=0.5, or for a list"),
        ("predict", "save=coco,yolo", "save=coco,yolo: for a list say save=[coco,yolo]"),
        ("predict", "tiles=640", "tiles=640: give auto, height x width as 640x640, or null"),
        ("test", "r/a.onnx", "say ckpt=r/a.onnx"),
        ("test", "decoder=x", "decoder=x: give settings or null"),
        ("test", "test=x", "test=x: give settings"),
        ("test", "test.flip=maybe", "test.flip=maybe: give true or false"),
        ("test", "test.sizes=5", "test.sizes=5: give a list of whole numbers"),
        ("test", "test.tta=multiscale test.sizes=[99999]", "give at most 10000 pixels"),
        ("test", "trainer.devices=64", "trainer.devices=64"),
        ("test", "run_dir=a.png", "run_dir=a.png: is a file"),
        ("test", "run_dir=.", "run_dir=.: is not empty"),
        ("convert", "out=" + "x" * 300 + ".safetensors", "File name too long"),
    ],
)
def test_with_a_checkpoint(
    command: Command,
    monkeypatch: pytest.MonkeyPatch,
    ckpt: Path,
    name: str,
    word: str,
    said: str,
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1}, raising=False)
    Image.new("RGB", (64, 64)).save("a.png")
    there = set(os.listdir())
    more = {
        "predict": ("source=a.png", "out=o", "device=cpu"),
        "test": ("data=shapes", "data.train_images=4", "data.val_images=2"),
        "convert": (),
    }
    accelerator = ("trainer.accelerator=cpu",) if name == "test" else ()
    result = command(name, f"ckpt={ckpt}", *more[name], *accelerator, *word.split(" "))
    assert result.code == 2, result.err
    (line,) = [line for line in result.err.splitlines() if line.strip()]
    assert line.startswith("error: ") and said in line and len(line) <= 620
    assert set(os.listdir()) == there


def test_a_folder_that_is_no_run_is_not_proposed_to_go_on_with(command: Command) -> None:
    Path("r").mkdir()
    Path("r/mine.txt").touch()
    assert "resume" not in command("train", *QUICK, "run_dir=r").err
    Path("r/config.yaml").touch()
    assert "go on with that run by resume=r" in command("train", *QUICK, "run_dir=r").err
    assert sorted(os.listdir("r")) == ["config.yaml", "mine.txt"]
