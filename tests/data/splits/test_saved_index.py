"""Reading annotations fast, and once: the same as the plain road, and noticing what changed."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fcos_lightning.data.readers import coco
from fcos_lightning.data.readers.coco import read_coco
from fcos_lightning.data.readers.coco_checked import PlainColumns
from fcos_lightning.data.readers.coco_quick import read_quick
from fcos_lightning.data.splits import DataSplit, saved_index
from fcos_lightning.errors import UserError

COLUMNS = (
    "image_ids", "file_names", "sizes_hw", "annotated", "annotated_categories", "boxes_xywh",
    "ignored", "areas_px", "categories",
)  # fmt: skip


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own, in which files of any size and age are kept."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(saved_index, "WORTH_BYTES", 1)
    monkeypatch.setattr(saved_index, "_SAMPLE_BYTES", 16)
    monkeypatch.setattr(saved_index, "UNSETTLED_NS", 0)
    return tmp_path / "cache"


@pytest.fixture
def data(tmp_path: Path) -> tuple[Path, Path]:
    """An annotation file and a folder with its images."""
    content = described(40)
    images = tmp_path / "images"
    images.mkdir()
    for image in content["images"]:
        (images / image["file_name"]).touch()
    file = tmp_path / "boxes.json"
    file.write_text(json.dumps(content))
    return file, images


def described(number: int) -> dict[str, Any]:
    random = np.random.default_rng(number)
    images = [
        {"id": 7 * i + 3, "file_name": f"{i:06}.jpg", "height": 300, "width": 400, "license": 1}
        for i in range(number)
    ]
    annotations = [
        {
            "id": n,
            "image_id": int(random.choice(images)["id"]),
            "category_id": int(random.choice([2, 5, 90])),
            "bbox": random.uniform(1, 150, 4).round(2).tolist(),
            "area": float(random.uniform(1, 9000)),
            "iscrowd": int(random.random() < 0.1),
            "segmentation": [random.uniform(0, 300, 8).round(2).tolist()],
            "attributes": {"said": '}, {"image_id": 1}, ]'},
        }
        for n in range(5 * number)
    ]
    names = [{"id": c, "name": f"class {c}", "supercategory": "x"} for c in (2, 5, 90)]
    return {"info": {}, "images": images, "annotations": annotations, "categories": names}


def assert_same(one: DataSplit, other: DataSplit) -> None:
    for field in fields(one.truth):
        np.testing.assert_array_equal(
            getattr(one.truth, field.name), getattr(other.truth, field.name)
        )
    for name in ("image_dir", "dropped", "name", "remarks", "annotated"):
        assert getattr(one, name) == getattr(other, name)


def fail(*_: object) -> None:
    raise AssertionError("the file was read again")


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("piece", [64, 1000, 1 << 18])
def test_columns_are_those_of_the_plain_reader(
    tmp_path: Path, piece: int, indent: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fcos_lightning.data.readers.coco_quick.PIECE_BYTES", piece)
    file = tmp_path / "boxes.json"
    file.write_text(json.dumps(described(30), indent=indent))
    quick, plain = read_quick(file), PlainColumns(file)
    assert quick is not None
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(quick, name), getattr(plain, name), err_msg=name)


def test_real_annotations_are_read_the_quick_way(shared: Path) -> None:
    found = sorted((shared / "data" / "coco256").rglob("*.json"))
    assert found
    for file in found:
        quick, plain = read_quick(file), PlainColumns(file)
        assert quick is not None
        for name in COLUMNS:
            np.testing.assert_array_equal(getattr(quick, name), getattr(plain, name), err_msg=name)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda c: c["annotations"][3].update(bbox=[1, 2, None, 4]),
        lambda c: c["annotations"][3].update(bbox=[1, 2, 3]),
        lambda c: c["annotations"][3].update(category_id="2"),
        lambda c: c["annotations"].append(5),
        lambda c: c["images"][0].pop("id"),
        lambda c: c.pop("annotations"),
        lambda c: c.update(annotations={}),
    ],
)
def test_what_is_not_as_expected_is_left_to_the_plain_reader(
    tmp_path: Path, spoil: Callable[[dict[str, Any]], object]
) -> None:
    content = described(10)
    spoil(content)
    file = tmp_path / "boxes.json"
    file.write_text(json.dumps(content))
    assert read_quick(file) is None


def test_a_second_look_reads_the_cache(
    data: tuple[Path, Path], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = read_coco(*data)
    assert len(list(cache.rglob("*.npz"))) == 1
    monkeypatch.setattr(coco, "read_quick", fail)
    assert_same(read_coco(*data), first)


def test_other_options_are_another_entry(data: tuple[Path, Path], cache: Path) -> None:
    read_coco(*data)
    read_coco(*data, strict=True)
    names = {2: "Class_2", 5: "CLASS 5", 90: "class-90"}
    renamed = read_coco(*data, categories=names)
    assert len(list(cache.rglob("*.npz"))) == 3
    again = read_coco(*data, categories=names)
    assert again.truth.class_names == renamed.truth.class_names


def test_a_changed_file_is_read_again(data: tuple[Path, Path], cache: Path) -> None:
    file, images = data
    before = read_coco(file, images)
    stat = file.stat()
    content = json.loads(file.read_text())
    content["annotations"][0]["bbox"][0] += 1.0
    changed = json.dumps(content)
    file.write_text(changed.ljust(stat.st_size))
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # as if nothing had happened
    after = read_coco(file, images)
    assert not np.array_equal(after.truth.boxes_xyxy, before.truth.boxes_xyxy)


def test_a_missing_image_is_noticed(data: tuple[Path, Path], cache: Path) -> None:
    read_coco(*data)
    time.sleep(0.02)  # coarse clocks of file systems
    (data[1] / "000004.jpg").unlink()
    with pytest.raises(UserError, match=r"000004\.jpg"):
        read_coco(*data)


def test_a_damaged_entry_is_made_anew(data: tuple[Path, Path], cache: Path) -> None:
    first = read_coco(*data)
    (entry,) = cache.rglob("*.npz")
    whole = entry.read_bytes()
    for spoilt in (b"", whole[: len(whole) // 2], whole.replace(b"\x01", b"\x02", 40)):
        entry.write_bytes(spoilt)
        assert_same(read_coco(*data), first)
        assert entry.read_bytes() == whole


def test_nothing_is_kept_of_what_may_still_change_or_of_small_files(
    data: tuple[Path, Path], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saved_index, "UNSETTLED_NS", 60_000_000_000)
    read_coco(*data)
    monkeypatch.setattr(saved_index, "UNSETTLED_NS", 0)
    monkeypatch.setattr(saved_index, "WORTH_BYTES", 4_000_000)
    read_coco(*data)
    assert not list(cache.rglob("*.npz"))


def test_the_cache_can_be_left_out(data: tuple[Path, Path], cache: Path) -> None:
    read_coco(*data, cache=False)
    assert not cache.exists()


def test_a_cache_that_cannot_be_written_is_no_error(
    data: tuple[Path, Path], tmp_path: Path, cache: Path
) -> None:
    cache.write_text("a file where the folder should be")
    first = read_coco(*data)
    assert_same(read_coco(*data), first)
