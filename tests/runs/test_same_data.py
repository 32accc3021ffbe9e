"""A run goes on with the data that it began with, wherever they lie now."""

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from fcos_lightning.data import CocoDataModule
from fcos_lightning.errors import UserError
from fcos_lightning.runs.same_data import KEY, check_same_data, digests


def write(root: Path, box: float = 5.0, name: str = "a", image: str = "1.jpg") -> None:
    shutil.rmtree(root, ignore_errors=True)
    for split in ("train", "val"):
        (root / split).mkdir(parents=True)
        Image.new("RGB", (40, 30)).save(root / split / image)
        content = {
            "images": [{"id": 1, "file_name": image, "width": 40, "height": 30}],
            "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [box, 5, 9, 9]}],
            "categories": [{"id": 1, "name": name}],
        }
        (root / f"{split}.json").write_text(json.dumps(content))


def data(root: Path) -> CocoDataModule:
    return CocoDataModule(root, annotations="SPLIT.json", train_split="train", val_split="val")


def test_moved_data_are_the_same_and_changed_ones_are_not(tmp_path: Path) -> None:
    write(tmp_path / "set")
    about = {KEY: digests(data(tmp_path / "set"))}
    (tmp_path / "set").rename(tmp_path / "moved")
    check_same_data(tmp_path, about, data(tmp_path / "moved"))
    check_same_data(tmp_path, {}, data(tmp_path / "moved"))  # of an earlier version
    for change in ({"box": 6.0}, {"name": "b"}, {"image": "2.jpg"}):
        write(tmp_path / "other", **change)  # type: ignore[arg-type]
        with pytest.raises(
            UserError, match=r"the split train .* is not the one that the run began"
        ):
            check_same_data(tmp_path, about, data(tmp_path / "other"))
    write(tmp_path / "other")
    shutil.copy(tmp_path / "moved/val.json", tmp_path / "other/val.json")
    text = (tmp_path / "other/val.json").read_text().replace("9, 9", "8, 9")
    (tmp_path / "other/val.json").write_text(text)
    with pytest.raises(UserError, match="the split val"):
        check_same_data(tmp_path, about, data(tmp_path / "other"))
