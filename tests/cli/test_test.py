import json
import os
from pathlib import Path

import pytest
from hydra.core.config_store import ConfigStore
from tests.cli.running import FINDING, SMALL, Command, only_run

from fcos_lightning.data.shapes.scenes import CLASS_NAMES


@pytest.fixture
def trained(command: Command, tmp_path: Path) -> Path:
    result = command("train", *FINDING, "run_dir=trained")
    assert result.code == 0, result.err
    return tmp_path / "trained"


def test_a_checkpoint_needs_nothing_else(command: Command, trained: Path, tmp_path: Path) -> None:
    result = command("test", f"ckpt={trained}/checkpoints/best.ckpt")
    assert result.code == 0, result.err
    assert "AP50" in result.out and "triangle" in result.out
    run = only_run(tmp_path)
    # The same figures and detections as at the end of training.
    for name in ("metrics.json", "predictions.json"):
        assert json.loads((run / name).read_text()) == json.loads((trained / name).read_text())
    assert json.loads((run / "metrics.json").read_text())["AP"] > 0
    predictions = json.loads((run / "predictions.json").read_text())
    assert {row["category_id"] for row in predictions} <= {1, 2, 3, 4, 5}


def test_the_other_processes_of_a_run_find_the_data_too(command: Command, trained: Path) -> None:
    """Lightning starts them with the words that Hydra got from the first."""
    ConfigStore.instance().repo.get("data", {}).clear()  # each has its own
    words = (f"ckpt={trained}/checkpoints/best.ckpt", "data=from_checkpoint")
    result = command("test", *words, "--cfg", "job")
    assert result.code == 0 and "image_px: 64" in result.out, result.err


def test_several_sizes_are_merged(command: Command, trained: Path, tmp_path: Path) -> None:
    words = (f"ckpt={trained}/checkpoints/best.ckpt", "decoder.score_threshold=0.001")
    merging = (*words, "test.tta=multiscale")
    for name, call in (
        ("plain", (*words, "data.eval_batch_size=1")),
        ("one", (*merging, "test.sizes=[64]", "test.flip=false")),
        ("more", (*merging, "test.sizes=[64,96]")),
    ):
        result = command("test", *call, f"run_dir={name}")
        assert result.code == 0, result.err
    plain, one, more = (
        json.loads((tmp_path / name / "predictions.json").read_text())
        for name in ("plain", "one", "more")
    )
    # In one size, that of the data, the same as without.
    assert len(plain) == len(one) > 0
    for row, expected in zip(one, plain, strict=True):
        assert row["image_id"] == expected["image_id"]
        assert row["bbox"] == pytest.approx(expected["bbox"], abs=0.01)
    assert more != one
    for wrong, said in (("test.tta=all", "give multiscale"), ("test.sizes=[]", "pixels above 0")):
        result = command("test", *merging, wrong)
        assert result.code == 2 and said in result.err


def test_overrides_apply_to_the_checkpoints_data(
    command: Command, trained: Path, tmp_path: Path
) -> None:
    ckpt = f"ckpt={trained}/checkpoints/best.ckpt"
    result = command("test", ckpt, "data.val_split=train", "decoder.max_detections=1", "run_dir=a")
    assert result.code == 0, result.err
    rows = json.loads((tmp_path / "a/predictions.json").read_text())
    images = [row["image_id"] for row in rows]
    assert len(images) == len(set(images)) == 24  # of each image of the other split, one

    # Other data by name; an option of Hydra after the override does not get in the way.
    voc = voc_of_one_image(tmp_path / "voc")
    result = command("test", ckpt, "data=voc", f"data.root={voc}", "run_dir=b")
    assert result.code == 0, result.err
    figures = json.loads((tmp_path / "b/metrics.json").read_text())
    assert "mAP_11point" in figures and "mAP_area" in figures
    shown = command("test", ckpt, "--cfg", "job")
    assert shown.code == 0 and "image_px: 64" in shown.out

    unknown = command("test", ckpt, "data=voc", f"data.root={voc}", "data.val_split=odd")
    assert unknown.code == 2 and "hexagon" in unknown.err


def test_a_split_without_annotations_gives_predictions_and_no_figures(
    command: Command, trained: Path, tmp_path: Path
) -> None:
    from PIL import Image

    (tmp_path / "set" / "test").mkdir(parents=True)
    Image.new("RGB", (64, 48), "red").save(tmp_path / "set" / "test" / "a.jpg")
    content = {
        "images": [{"id": 1001, "file_name": "a.jpg", "width": 64, "height": 48}],
        "categories": [{"id": i, "name": name} for i, name in enumerate(CLASS_NAMES, start=1)],
    }
    words = (
        *(f"ckpt={trained}/checkpoints/best.ckpt", "data=coco", "data.root=set"),
        *("data.annotations=SPLIT.json", "data.val_split=test", "decoder.score_threshold=0.001"),
    )
    (tmp_path / "set" / "test.json").write_text(json.dumps(content))
    result = command("test", *words, "run_dir=a")
    assert result.code == 0, result.err
    assert "no figures: test has no list of annotations" in result.out
    assert "AP50" not in result.out and not (tmp_path / "a/metrics.json").exists()
    rows = json.loads((tmp_path / "a/predictions.json").read_text())
    assert {row["image_id"] for row in rows} == {1001}

    content["annotations"] = [{"image_id": 1001, "category_id": 1, "bbox": [90, 0, 5, 5]}]
    (tmp_path / "set" / "test.json").write_text(json.dumps(content))
    result = command("test", *words, "run_dir=b")
    assert result.code == 0, result.err
    assert "test: 1 boxes outside the image: left out" in result.out


def voc_of_one_image(root: Path) -> Path:
    from PIL import Image

    for folder in ("Annotations", "ImageSets/Main", "JPEGImages"):
        (root / folder).mkdir(parents=True)
    for split, name, kind in (("test", "one", "circle"), ("odd", "two", "hexagon")):
        (root / f"ImageSets/Main/{split}.txt").write_text(f"{name}\n")
        Image.new("RGB", (64, 48)).save(root / f"JPEGImages/{name}.jpg")
        (root / f"Annotations/{name}.xml").write_text(
            "<annotation><size><width>64</width><height>48</height><depth>3</depth></size>"
            f"<object><name>{kind}</name><bndbox><xmin>3</xmin><ymin>4</ymin>"
            "<xmax>30</xmax><ymax>40</ymax></bndbox></object></annotation>"
        )
    return root


def test_published_checkpoints_are_named(command: Command, tmp_path: Path) -> None:
    """Nothing is fetched here: a name that is none says which there are."""
    for name, words in (
        ("test", ("data=coco",)),
        ("predict", ("source=.", "out=o")),
        ("convert", ("out=o.safetensors",)),
    ):
        (tmp_path / "picture.png").write_bytes(b"")
        result = command(name, "ckpt=torchvision/fcos_resnet50", *words)
        assert result.code == 2 and "there are torchvision/fcos_resnet50_fpn_coco" in result.err
    result = command("train", *SMALL, "init_from=official/FCOS_R_50")
    assert result.code == 2 and "there are official/FCOS_R_50_FPN_1x" in result.err


def test_the_size_is_the_checkpoints_whatever_data_are_given(
    command: Command, trained: Path, tmp_path: Path
) -> None:
    (source,) = Path(os.environ["XDG_CACHE_HOME"]).glob("fcos-lightning/*-24-8-64px-*")
    ckpt = (f"ckpt={trained}/checkpoints/best.ckpt", "data.eval_batch_size=8")
    other = ("data=coco", f"data.root={source}", "data.val_split=val")
    result = command("test", *ckpt, *other, "run_dir=coco")
    assert result.code == 0, result.err
    found, expected = (
        json.loads((folder / "predictions.json").read_text())
        for folder in (tmp_path / "coco", trained)
    )
    assert found == expected != []
    assert "8 images, shorter side 64, longer at most 64; 5 classes" in result.out
    assert "scores above 0.01, NMS at 0.6, at most 100 an image" in result.out
    larger = command("test", *ckpt, *other, "data.shorter_side=96", "run_dir=larger")
    assert (
        "shorter side 96, longer at most 64 (the checkpoint says 64 as shorter_side)" in larger.out
    )


def test_options_of_training_are_refused_and_others_heeded(command: Command, trained: Path) -> None:
    ckpt = (f"ckpt={trained}/checkpoints/best.ckpt", "data.eval_batch_size=2")
    for word, said in (
        ("trainer.max_epochs=3", "trainer.max_epochs: is about training"),
        ("+trainer.profiler=simple", "trainer.profiler: is about training"),
        ("trainer.limit_val_batches=0", "there would be nothing to measure"),
    ):
        result = command("test", *ckpt, word)
        assert result.code == 2 and said in result.err, result.err
    own = ("method=fcos", "model=tiny", "model.decoder.nms_iou=0.3")
    result = command("test", *ckpt, *own)
    assert result.code == 2 and "decoder.nms_iou= changes this choice" in result.err, result.err
    few = command("test", *ckpt, "trainer.limit_val_batches=1", "run_dir=few")
    assert few.code == 0, few.err
    assert "of 2 of 8 images, the only ones looked at" in few.out
