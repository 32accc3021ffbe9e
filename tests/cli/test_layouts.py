"""A folder that a tool has written is trained and tested on without further settings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from tests.cli.running import Command
from tests.data import layouts
from tests.data.layouts import LAYOUTS

TWO_STEPS = (
    "experiment=finetune",
    "method=fcos",
    "model=tiny",
    "model.fpn.channels=16",
    "model.head.num_convs=1",
    "schedule.max_epochs=1",
    "trainer.limit_train_batches=2",
    "data.batch_size=2",
    "data.shorter_side=64",
    "data.longer_side=96",
    "data.num_workers=0",
    "callbacks.progress=null",
    "callbacks.previews=null",
    "logger=none",
)


def ckpt_of(run: str) -> str:
    """The whole path: what a process has read of a checkpoint it remembers by its path."""
    return f"ckpt={Path(run).absolute()}/checkpoints/best.ckpt"


#: One of each way to be found and read; the others differ in what they are found by, which
#: ``tests/data/finding`` looks at.
FAST = (
    *("coco_official", "coco_roboflow", "coco_cvat", "coco_label_studio"),
    *("voc_official", "voc_without_lists", "voc_labelimg", "voc_roboflow"),
    *("yolo_roboflow", "yolo_ultralytics", "yolo_labelimg", "yolo_cvat"),
    *("csv_roboflow", "csv_plain"),
)


@pytest.mark.parametrize(
    "layout",
    [one if one in FAST else pytest.param(one, marks=pytest.mark.slow) for one in LAYOUTS],
)
def test_train_two_steps_and_test(layout: str, command: Command) -> None:
    made = LAYOUTS[layout](Path("data set"))
    trained = command("train", *TWO_STEPS, "data.root=data set", "run_dir=run")
    assert trained.code == 0, trained.err
    assert "Traceback" not in trained.err
    (said,) = [line for line in trained.out.splitlines() if line.startswith("data  ")]
    assert made.title in said
    config = yaml.safe_load(Path("run/config.yaml").read_text("utf-8"))["data"]
    assert (config["train_split"], config["val_split"]) == (made.train, made.val)
    assert config["test_split"] == made.test
    assert config["class_names"] == list(made.classes)
    assert Path("run/split.json").is_file() == (made.val is None)
    assert Path("run/test_metrics.json").is_file() == (made.test is not None)

    tested = command("test", ckpt_of("run"), "run_dir=tested")
    assert tested.code == 0, tested.err
    for name in ("metrics.json", "predictions.json"):
        assert json.loads(Path("run", name).read_text()) == json.loads(
            Path("tested", name).read_text()
        )


def test_tables_say_what_they_are_of_and_the_test_split_comes_once(command: Command) -> None:
    layouts.yolo_roboflow(Path("d"))
    words = (*TWO_STEPS, "data.root=d", "run_dir=run", "schedule.max_epochs=3")
    result = command("train", *words)
    assert result.code == 0, result.err
    titles = [line for line in result.out.splitlines() if line.startswith("Detection figures")]
    assert titles == [
        "Detection figures on val (higher is better)          ",
        "Detection figures on test (higher is better)         ",
    ]
    # The figures of the test split are those of testing on it.
    ckpt = ckpt_of("run")
    alone = command("test", ckpt, "data.val_split=test", "run_dir=alone")
    assert alone.code == 0 and "Detection figures on test" in alone.out
    ours = json.loads(Path("run/test_metrics.json").read_text())
    assert ours == json.loads(Path("alone/metrics.json").read_text())
    none = command(
        "train", *words[:-2], "run_dir=none", "schedule.max_epochs=1", "data.test_split=null"
    )
    assert none.code == 0 and "figures on test" not in none.out
    assert not Path("none/test_metrics.json").exists()


def test_a_run_that_goes_on_keeps_its_share(command: Command) -> None:
    layouts.csv_keras(Path("d"))
    assert command("train", *TWO_STEPS, "data.root=d", "run_dir=run").code == 0
    file = Path("run/split.json")
    written = file.read_text()
    sides = json.loads(written)
    assert sorted(sides["train"] + sides["val"]) == sorted(
        f"images/{name}.jpg" for name in layouts.BOTH
    )
    assert command("train", "resume=run").code == 0
    # Another draw, by hand: what is written counts, and these are not the images it began with.
    sides = {"train": sides["val"] + sides["train"][1:], "val": sides["train"][:1]}
    file.write_text(json.dumps(sides))
    other = command("train", "resume=run")
    assert other.code == 2 and "is not the one that the run began with" in other.err
    file.write_text(written)
    layouts.draw(Path("d/images"), {"new": []})
    with Path("d/annotations.csv").open("a") as table:
        table.write("images/new.jpg,1,1,20,20,cat\n")
    more = command("train", "resume=run")
    assert more.code == 2 and "new.jpg: is not in " in more.err and "split.json" in more.err


def test_two_that_fit_and_none_that_does_are_one_line(command: Command) -> None:
    layouts.voc_labelimg(Path("d"))
    layouts.yolo_labelimg(Path("d"))
    both = command("train", *TWO_STEPS, "data.root=d")
    assert both.code == 2 and both.err.count("\n") == 1
    assert "choose by data=voc or data=yolo" in both.err
    assert command("train", *TWO_STEPS, "data=yolo", "data.root=d", "run_dir=y").code == 0
    Path("empty").mkdir()
    none = command("train", *TWO_STEPS, "data.root=empty")
    assert none.code == 2 and none.err.count("\n") == 1 and "looked for COCO" in none.err
    missing = command("train", *TWO_STEPS)
    assert missing.code == 2 and "data.root is missing" in missing.err
