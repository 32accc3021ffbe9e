import json
import tracemalloc
from pathlib import Path
from typing import Any

import albumentations as A
import numpy as np
import pytest
import torch
from PIL import Image

import fcos_lightning
from fcos_lightning.data import (
    Augmentation,
    CocoDataModule,
    ShapesDataModule,
    ShorterSide,
    VocDataModule,
)
from fcos_lightning.errors import UserError
from fcos_lightning.structures import Batch

OPTIONS = {
    "train_split": "train",
    "val_split": "val",
    "batch_size": 4,
    "shorter_side": 64,
    "longer_side": 64,
    "num_workers": 0,
}


@pytest.fixture
def shapes(tmp_path: Path) -> ShapesDataModule:
    return ShapesDataModule(
        tmp_path / "shapes", train_images=10, val_images=5, image_px=64, **OPTIONS
    )


def test_batches_are_padded_uint8_with_boxes_in_place(shapes: ShapesDataModule) -> None:
    batches = list(shapes.train_dataloader())
    assert len(batches) == 3 and all(isinstance(batch, Batch) for batch in batches)
    for batch in batches:
        assert batch.images.pixels.dtype == torch.uint8
        assert batch.images.pixels.shape == (4, 3, 64, 64)
        boxes, valid = batch.targets.boxes_xyxy, batch.targets.valid
        assert boxes.dtype == torch.float32 and (boxes[~valid] == 0).all()
        assert (boxes[valid][:, 2:] > boxes[valid][:, :2]).all()
        assert boxes.min() >= 0 and boxes.max() <= 64
    seen = torch.cat([batch.image_ids for batch in batches])
    assert len(seen) == 12 and len(set(seen.tolist())) == 10


def test_a_batch_is_its_images_read_augmented_transposed_and_padded(
    shapes: ShapesDataModule,
) -> None:
    augment = Augmentation([ShorterSide([48, 64], 90), A.HorizontalFlip()], min_side_px=2)
    shapes.augmentation = augment
    split, seen = shapes.train, 0
    position = {int(image): index for index, image in enumerate(split.truth.image_ids)}
    for batch in shapes.train_dataloader():
        assert batch.images.pixels.is_contiguous()
        for row, image_id in enumerate(batch.image_ids.tolist()):
            index = position[image_id]
            seed = int(np.random.SeedSequence([shapes.seed, 0, index]).generate_state(1)[0])
            image, boxes, labels, _ = augment(split.image(index), *split.target(index), seed)
            height, width = batch.images.sizes_hw[row].tolist()
            assert (height, width) == image.shape[:2]
            pixels = batch.images.pixels[row].permute(1, 2, 0).numpy()
            np.testing.assert_array_equal(pixels[:height, :width], image)
            assert pixels.sum() == image.sum()  # black outside
            valid = batch.targets.valid[row]
            assert torch.equal(batch.targets.boxes_xyxy[row][valid], torch.from_numpy(boxes))
            assert batch.targets.labels[row][valid].tolist() == labels.tolist()
            seen += 1
    assert seen == 12


def test_workers_change_nothing(shapes: ShapesDataModule) -> None:
    alone = list(shapes.train_dataloader())
    shapes.num_workers = 2
    together = list(shapes.train_dataloader())
    for one, other in zip(alone, together, strict=True):
        assert torch.equal(one.images.pixels, other.images.pixels)
        assert torch.equal(one.targets.boxes_xyxy, other.targets.boxes_xyxy)
        assert torch.equal(one.image_ids, other.image_ids)


def test_evaluation_hands_out_each_image_once_and_unaugmented(shapes: ShapesDataModule) -> None:
    first, second = list(shapes.val_dataloader()), list(shapes.val_dataloader())
    assert [int(batch.image_ids) for batch in first] == shapes.val.truth.image_ids.tolist()
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one.images.pixels, other.images.pixels)


def test_the_training_split_defines_the_classes(tmp_path: Path) -> None:
    for split, categories, used in (("train", [0, 7, 90], 90), ("val", [90], 90), ("odd", [3], 3)):
        folder = tmp_path / split
        folder.mkdir()
        Image.fromarray(np.zeros((20, 30, 3), dtype=np.uint8)).save(folder / "a.png")
        (folder / "_annotations.coco.json").write_text(
            json.dumps(
                {
                    "images": [{"id": 5, "file_name": "a.png"}],
                    "annotations": [{"image_id": 5, "category_id": used, "bbox": [1, 2, 9, 9]}],
                    "categories": [{"id": i, "name": f"c{i}"} for i in categories],
                }
            )
        )
    # The layout of a Roboflow export, by two settings.
    data = CocoDataModule(tmp_path, annotations="SPLIT/_annotations.coco.json", **OPTIONS)
    assert data.train.truth.category_ids == data.val.truth.category_ids == (0, 7, 90)
    assert data.train.truth.labels.tolist() == data.val.truth.labels.tolist() == [2]
    data.val_split = "odd"
    data._splits.clear()
    with pytest.raises(UserError, match="3"):
        _ = data.val
    # A checkpoint's classes do as well, without any training split.
    data.val_split = "val"
    assert data.read_val(("x", "c90"), (1, 90)).truth.labels.tolist() == [1]


def test_a_missing_folder_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"coco is missing, relative to .*download_coco\.py .*"):
        _ = CocoDataModule("datasets/coco", **OPTIONS).train
    with pytest.raises(UserError, match=r"/coco is missing; fetch .*data=shapes"):
        _ = CocoDataModule("/coco", **OPTIONS).train
    with monkeypatch.context() as wheel:
        wheel.setattr(fcos_lightning, "__file__", str(tmp_path / "site-packages/a/__init__.py"))
        with pytest.raises(UserError, match="fetch COCO with https://") as caught:
            _ = CocoDataModule("/coco", **OPTIONS).train
    assert "scripts" not in str(caught.value)
    # A folder that is there is not one to fetch COCO into.
    with pytest.raises(UserError, match=r"split train the file .* is missing; say where") as caught:
        _ = CocoDataModule(tmp_path, **OPTIONS).train
    assert "download" not in str(caught.value)
    with pytest.raises(UserError, match=r"download_voc\.py .*data=shapes"):
        _ = VocDataModule("datasets/VOC2007", **OPTIONS).train
    # A folder with a name of its own is not one to fetch COCO into either.
    for kind in (CocoDataModule, VocDataModule):
        with pytest.raises(UserError, match="roboflow is missing") as caught:
            _ = kind("roboflow", **OPTIONS).train
        assert "fetch" not in str(caught.value)


@pytest.mark.parametrize(
    ("devices", "said"),
    [(3, "use 2 or 4 devices"), (5, "use 4 or 8 devices"), (9, "use 8 devices")],
)
def test_a_batch_is_shared_evenly_or_refused(
    shapes: ShapesDataModule, devices: int, said: str
) -> None:
    shapes.batch_size = 8
    assert shapes.share_of_batch(2) == 4
    with pytest.raises(UserError, match=said):
        shapes.share_of_batch(devices)


def test_an_unreadable_image_is_skipped_in_training_and_black_in_evaluation(
    shapes: ShapesDataModule,
) -> None:
    broken = shapes.train.path(3), shapes.val.path(2)
    for file in broken:
        file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(UserError, match=broken[1].name):
        list(shapes.val_dataloader())
    shapes.on_bad_image = "skip"
    seen = list(shapes.train_dataloader())
    assert int(shapes.train.truth.image_ids[3]) not in torch.cat([b.image_ids for b in seen])
    assert {name for batch in seen for name in batch.unreadable} == {str(broken[0])}
    black = list(shapes.val_dataloader())[2]
    assert black.images.pixels.sum() == 0 and black.unreadable == (str(broken[1]),)
    assert int(black.image_ids) == shapes.val.truth.image_ids[2]
    assert not black.targets.valid.any()


@pytest.mark.parametrize("side", [64, 30_000, 2**31 - 1])
def test_an_unreadable_image_costs_the_same_whatever_its_annotated_size(
    tmp_path: Path, side: int
) -> None:
    data = listed(tmp_path, [("a.png", 30, 20), ("b.png", side, side)], on_bad_image="skip")
    (tmp_path / "train" / "b.png").write_bytes(b"no image")
    data.val_split = "train"
    tracemalloc.start()
    batches = list(data.val_dataloader())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20e6
    assert batches[1].images.pixels.shape == (1, 3, 64, 64)
    assert batches[1].original_sizes_hw.tolist() == [[side, side]]
    assert len(list(data.train_dataloader())) == 1


def listed(root: Path, images: list[tuple[str, int, int]], **options: Any) -> CocoDataModule:
    """A split ``train`` of images of 30 x 20 pixels, annotated as being of other sizes."""
    (root / "train").mkdir()
    entries = []
    for number, (name, width, height) in enumerate(images):
        Image.new("RGB", (30, 20)).save(root / "train" / name)
        entries.append({"id": number, "file_name": name, "width": width, "height": height})
    content = {
        "images": entries,
        "annotations": [{"image_id": 0, "category_id": 1, "bbox": [1, 2, 9, 9]}],
        "categories": [{"id": 1, "name": "x"}],
    }
    (root / "train.json").write_text(json.dumps(content))
    return CocoDataModule(root, annotations="SPLIT.json", **{**OPTIONS, **options})


def test_a_wrong_size_is_told_before_training_unless_bad_images_are_skipped(
    tmp_path: Path,
) -> None:
    data = listed(tmp_path, [("a.png", 30, 20), ("b.png", 20, 30)])
    with pytest.raises(UserError, match=r"b\.png is 30 x 20 pixels, but annotated as 20 x 30"):
        _ = data.train
    data.on_bad_image = "skip"
    (batch,) = data.train_dataloader()
    assert set(batch.unreadable) == {str(tmp_path / "train" / "b.png")}


def test_an_image_above_the_limit_is_told_before_training(tmp_path: Path) -> None:
    data = listed(tmp_path, [("a.png", 30, 20)], max_pixels=599)
    with pytest.raises(UserError, match=r"larger than data\.max_pixels=599, .*a\.png with 30 x 20"):
        _ = data.train
    data.max_pixels = 600
    assert len(list(data.train_dataloader())) == 1
    with pytest.raises(UserError, match=r"data\.max_pixels=0: give at least 1"):
        CocoDataModule(tmp_path, **{**OPTIONS, "max_pixels": 0})


def test_a_split_without_annotations_is_for_predictions_only(tmp_path: Path) -> None:
    data = listed(tmp_path, [("a.png", 30, 20)])
    file = tmp_path / "train.json"
    content = json.loads(file.read_text())
    del content["annotations"]
    (tmp_path / "val.json").write_text(json.dumps(content))
    (tmp_path / "val").symlink_to(tmp_path / "train")
    with pytest.raises(UserError, match="split val has no list of annotations"):
        _ = data.val
    split = data.read_val(("x",), (1,))
    assert not split.annotated and len(list(data.val_dataloader())) == 1


def test_voc_without_lists_is_read_by_its_data_module(tmp_path: Path) -> None:
    for split in ("train", "val"):
        (tmp_path / split).mkdir()
        Image.new("RGB", (30, 20)).save(tmp_path / split / "a.jpg")
        box = "<xmin>2</xmin><ymin>3</ymin><xmax>9</xmax><ymax>9</ymax>"
        (tmp_path / split / "a.xml").write_text(
            f"<annotation><object><name>x</name><bndbox>{box}</bndbox></object></annotation>"
        )
    for named in ({}, {"annotations": "SPLIT", "images": "SPLIT"}):
        data = VocDataModule(tmp_path, **named, **OPTIONS)
        assert data.train.truth.boxes_xyxy.tolist() == [[1, 2, 9, 9]] and len(data.val) == 1
