"""Sizes that annotations do not state, where an image cannot be read."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from tests.data.layouts import LAYOUTS

from fcos_lightning.data import AutoDataModule
from fcos_lightning.doctor.examine import found, look_at_files, read_sets
from fcos_lightning.errors import UserError


def unsized(kind: str, root: Path) -> None:
    """Make a data set whose annotations state no size of an image."""
    LAYOUTS[kind](root)
    for file in root.rglob("*.json"):
        tree = json.loads(file.read_text())
        for image in tree["images"]:
            del image["width"], image["height"]
        file.write_text(json.dumps(tree))
    for file in root.rglob("*.xml"):
        file.write_text(re.sub("<size>.*</size>", "", file.read_text()))
    for file in root.rglob("*.csv"):
        rows = [line.split(",") for line in file.read_text().splitlines()]
        out = [rows[0].index(one) for one in ("width", "height") if one in rows[0]]
        kept = [[word for place, word in enumerate(row) if place not in out] for row in rows]
        file.write_text("".join(",".join(row) + "\n" for row in kept))


@pytest.mark.parametrize("content", [b"no picture", b""])
@pytest.mark.parametrize(
    "kind", ["yolo_roboflow", "yolo_ultralytics", "csv_roboflow", "coco_roboflow", "voc_roboflow"]
)
def test_a_bad_image_without_a_size_is_named_or_left_out(
    kind: str, content: bytes, tmp_path: Path
) -> None:
    unsized(kind, tmp_path)
    data = AutoDataModule(tmp_path, strict=True)
    whole, bad = data.train, data.train.path(1)
    boxes = len(whole.target(1)[0])
    assert boxes > 0
    bad.write_bytes(content)
    advice = r"data\.on_bad_image=skip$"
    with pytest.raises(UserError, match=f"^{re.escape(str(bad))} is not an image.*{advice}"):
        _ = AutoDataModule(tmp_path).train

    left = AutoDataModule(tmp_path, on_bad_image="skip", strict=True, num_workers=0)
    kept = [0, *range(2, len(whole))]
    assert left.train.truth.image_ids.tolist() == whole.truth.image_ids[kept].tolist()
    assert len(left.train.truth.labels) == len(whole.truth.labels) - boxes
    assert left.train.notes() == [
        *whole.notes(),
        f"1 of {len(whole)} images cannot be read and are left out, the first is {bad}",
    ]
    assert len(list(left.train_dataloader())) and not left.val.notes()

    kinds = {
        how: {one.code: one for one in found(look_at_files(read_sets(data), lambda: None))}
        for how in ("error", "skip")
        for data in [AutoDataModule(tmp_path, on_bad_image=how)]
    }
    for codes in kinds.values():
        code = "image.unreadable" if content else "image.empty"
        assert [one.file for one in codes[code].kept] == [str(bad)]
        assert not {"annotation.no_file", "annotation.unreadable", "box.no_area"} & codes.keys()
        without = codes.get("image.no_objects")
        assert str(bad) not in [one.file for one in (without.kept if without else ())]

    for image in range(len(whole)):
        whole.path(image).write_bytes(content)
    with pytest.raises(UserError, match=rf"none of its {len(whole)} images can be read, the first"):
        _ = AutoDataModule(tmp_path, on_bad_image="skip").train
