"""Every layout that tools write is found, and gives the boxes that were written."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from tests.data import layouts
from tests.data.layouts import LAYOUTS, Boxes, Made

from fcos_lightning.data import (
    AutoDataModule,
    CocoDataModule,
    CsvDataModule,
    VocDataModule,
    YoloDataModule,
)
from fcos_lightning.data.splits import DataSplit
from fcos_lightning.doctor.examine import read_sets
from fcos_lightning.errors import UserError

BY_NAME = {
    "coco": lambda root: CocoDataModule(
        root, annotations=None, images=None, leave_out_parents=True, test_split="auto"
    ),
    "voc": lambda root: VocDataModule(root, test_split="auto"),
    "yolo": YoloDataModule,
    "csv": CsvDataModule,
}


def boxes_of(*splits: DataSplit) -> dict[str, Boxes]:
    found: dict[str, Boxes] = {}
    for split in splits:
        for image in range(len(split)):
            boxes, labels = split.target(image)
            stem = os.path.splitext(os.path.basename(str(split.truth.file_names[image])))[0]
            found[stem] = [
                (split.truth.class_names[label], tuple(np.round(box, 3).tolist()))
                for box, label in zip(boxes, labels, strict=True)
            ]
    return found


@pytest.fixture(params=LAYOUTS)
def made(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Made]:
    root = tmp_path / "a data set"
    return root, LAYOUTS[request.param](root)


@pytest.mark.parametrize("by_name", [False, True])
def test_a_layout_is_found_and_read(made: tuple[Path, Made], by_name: bool) -> None:
    root, expected = made
    before = sorted(path for path in root.rglob("*"))
    if by_name:
        data = BY_NAME[expected.format](root)
    else:
        data = AutoDataModule(root, leave_out_parents=True)
    train, val = data.train, data.val
    assert data.layout.format == expected.format
    assert expected.title in str(data.found)
    assert data.protocol == ("voc" if expected.format == "voc" else "coco")
    assert (data.train_split, data.val_split) == (expected.train, expected.val)
    test = data.test
    assert data.test_split == expected.test
    assert (None if test is None else test.name) == expected.test
    assert train.truth.class_names == expected.classes == val.truth.class_names
    first = expected.first_category
    assert train.truth.category_ids == (first, first + 1)
    assert len(train) and len(val)
    assert boxes_of(train, val) == expected.pictures
    assert not train.dropped and not val.dropped
    assert sorted(path for path in root.rglob("*")) == before
    # Every image is there and of the annotated size.
    for split in (train, val):
        for image in range(len(split)):
            assert split.image(image).shape == (64, 96, 3)


def test_outlines_and_odd_lines_are_counted(tmp_path: Path) -> None:
    layouts.yolo_outlines(tmp_path / "a")
    said = AutoDataModule(tmp_path / "a").train.remarks
    assert "4 outlines or oriented boxes became the boxes around them" in said
    layouts.yolo_without_yaml(tmp_path / "b")
    said = AutoDataModule(tmp_path / "b").train.remarks
    assert "1 images have no text file; they count as images without objects" in said


def test_a_parent_of_other_categories_is_left_out_and_said(tmp_path: Path) -> None:
    layouts.coco_roboflow(tmp_path)
    said = AutoDataModule(tmp_path, leave_out_parents=True).train.remarks
    assert (
        "the category 'animals-x1' is the parent of others and has no boxes; it is left out" in said
    )
    assert AutoDataModule(tmp_path).train.truth.class_names == ("animals-x1", "cat", "dog")


def test_two_layouts_are_both_named_and_how_to_choose(tmp_path: Path) -> None:
    layouts.voc_labelimg(tmp_path)
    layouts.yolo_labelimg(tmp_path)
    with pytest.raises(
        UserError, match=r"2 layouts fit: VOC's XML .*; YOLO text .*data=voc or data=yolo"
    ):
        _ = AutoDataModule(tmp_path).train
    assert len(YoloDataModule(tmp_path).train) and len(VocDataModule(tmp_path).train)


def test_how_to_choose_among_many_layouts_is_said_to_its_end(tmp_path: Path) -> None:
    root = tmp_path / "folder of data sets"
    for kind, make in LAYOUTS.items():
        make(root / kind)
    with pytest.raises(UserError) as caught:
        _ = AutoDataModule(root).train
    said = str(caught.value)
    assert " ... " not in said.removeprefix(f"data.root={root}: ") and "layouts fit: COCO" in said
    assert said.endswith(
        "choose by data=coco or data=voc or data=yolo or data=csv, or data.root= of a folder below"
    )


def test_two_of_one_kind_are_told_apart_by_their_folder(tmp_path: Path) -> None:
    layouts.voc_devkit(tmp_path)
    base = tmp_path / "VOCdevkit"
    shutil.copytree(base / "VOC2007", base / "VOC2012")
    with pytest.raises(UserError, match=r"VOC2007.*VOC2012.*choose by data\.root="):
        _ = AutoDataModule(tmp_path).train
    assert len(AutoDataModule(base / "VOC2012").train)


@pytest.mark.parametrize("filled", [False, True])
def test_none_is_one_line_of_what_was_sought_and_what_is_there(
    tmp_path: Path, filled: bool
) -> None:
    if filled:
        layouts.draw(tmp_path / "pictures", layouts.TRAIN)
        layouts.write(tmp_path / "README.txt", "hello")
        layouts.write(tmp_path / "sizes.csv", "name,size", "a,3")
        layouts.write_json(tmp_path / "labelme.json", {"shapes": [], "imagePath": "a.jpg"})
    with pytest.raises(UserError) as caught:
        _ = AutoDataModule(tmp_path).train
    message = str(caught.value)
    assert "\n" not in message
    for word in ("COCO", "VOC", "YOLO", "CSV"):
        assert word in message
    if filled:
        assert "4 images" in message and "4 .jpg" in message and "pictures" in message
        sought = r"looked for YOLO \(a text file for each image\), shards \(.*\)$"
        with pytest.raises(UserError, match=sought):
            _ = YoloDataModule(tmp_path).train


@pytest.mark.parametrize(
    ("root", "said"), [(None, "data.root is missing"), ("nowhere", "does not exist")]
)
def test_a_root_that_is_none(root: str | None, said: str) -> None:
    with pytest.raises(UserError, match=said):
        _ = AutoDataModule(root).train


def test_splits_may_be_named(tmp_path: Path) -> None:
    layouts.coco_roboflow(tmp_path)
    data = AutoDataModule(tmp_path, train_split="TEST", val_split="train", test_split=None)
    assert data.train.name == "test" and data.val.name == "train" and data.test is None
    with pytest.raises(UserError, match=r"no set of images called odd; there are .*valid"):
        _ = AutoDataModule(tmp_path, train_split="odd").train


def test_a_set_without_annotations_that_is_named_is_refused(tmp_path: Path) -> None:
    LAYOUTS["coco_roboflow"](tmp_path)
    (file,) = (tmp_path / "test").glob("*.json")
    tree = json.loads(file.read_text("utf-8"))
    del tree["annotations"]
    layouts.write_json(file, tree)
    found = AutoDataModule(tmp_path)
    assert found.find_splits().test == "test" and found.test is None
    for key in ("val_split", "test_split"):
        data = AutoDataModule(tmp_path, **{key: "test"})
        with pytest.raises(UserError, match=r"split test has no list of annotations"):
            _ = data.val, data.test


@pytest.mark.parametrize("key", ["train_split", "val_split", "test_split"])
def test_a_set_that_is_named_and_not_there_is_refused(made: tuple[Path, Made], key: str) -> None:
    data = AutoDataModule(made[0], **{key: "odd"})
    with pytest.raises(UserError, match=r"called odd; there (is only|are) "):
        _ = data.train, data.val, data.test
    with pytest.raises(UserError, match=r"called odd; there (is only|are) "):
        read_sets(AutoDataModule(made[0], **{key: "odd"}))


@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.parametrize("server", ["../../label-studio/media/1/", "..\\..\\label-studio\\1\\"])
def test_paths_to_the_folder_of_a_server_count_by_their_last_part(
    tmp_path: Path, every: int, server: str
) -> None:
    made = LAYOUTS["coco_label_studio"](tmp_path)
    file = tmp_path / "result.json"
    tree = json.loads(file.read_text("utf-8"))
    for image in tree["images"][::every]:
        image["file_name"] = image["file_name"].replace("images\\", server)
    file.write_text(json.dumps(tree))
    data = AutoDataModule(tmp_path, val_split=None)
    assert boxes_of(data.train, data.val) == made.pictures
    assert any("their last parts are taken" in note for note in data.train.notes())


def test_a_link_that_leads_out_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "d"
    layouts.yolo_without_yaml(root)
    layouts.draw(tmp_path / "private", {"me": []})
    (root / "train/images/me.jpg").symlink_to(tmp_path / "private/me.jpg")
    with pytest.raises(UserError, match=r"'me\.jpg' leads outside the image folder"):
        _ = AutoDataModule(root).train
    (root / "train/images/me.jpg").unlink()
    (tmp_path / "secret").write_text("password")
    (root / "train/labels/a.txt").unlink()
    (root / "train/labels/a.txt").symlink_to(tmp_path / "secret")
    with pytest.raises(UserError, match=r"'a\.txt' leads outside the label folder"):
        _ = AutoDataModule(root).train


def test_one_bad_file_is_named_and_hides_no_set(tmp_path: Path) -> None:
    layouts.yolo_without_yaml(tmp_path / "y")
    (tmp_path / "y/train/labels/a.txt").write_text("hello\n")
    with pytest.raises(UserError, match=r"a\.txt, line 1: expected a class"):
        _ = AutoDataModule(tmp_path / "y").train
    for name, made in (("train2017", layouts.coco_official), ("train", layouts.coco_roboflow)):
        made(tmp_path / name)
        place = (
            "annotations/instances_train2017.json"
            if "2" in name
            else "train/_annotations.coco.json"
        )
        file = tmp_path / name / place
        file.write_bytes(file.read_bytes()[:40])
        with pytest.raises(UserError, match=rf"{file.name} is not valid JSON"):
            _ = AutoDataModule(tmp_path / name).train
    layouts.voc_roboflow(tmp_path / "v")
    min((tmp_path / "v/train").glob("*.xml")).write_text("<annotation")
    with pytest.raises(UserError, match=r"\.xml is not valid XML"):
        _ = AutoDataModule(tmp_path / "v").train


@pytest.mark.parametrize("tool", ["json", "csv"])
def test_images_of_one_set_do_not_stand_for_those_of_another(tmp_path: Path, tool: str) -> None:
    order = "filename,xmin,ymin,xmax,ymax,class"
    for split in ("train", "val"):  # both with the same names
        layouts.draw(tmp_path / split, layouts.TRAIN)
        tree = layouts.coco(layouts.TRAIN, lambda stem: f"{stem}.jpg")
        rows = layouts.csv_rows(layouts.TRAIN, order, lambda stem: f"{stem}.jpg")
        if tool == "json":
            layouts.write_json(tmp_path / f"annotations/instances_{split}.json", tree)
        else:
            layouts.write(tmp_path / f"{split}_labels.csv", order, *rows)
    (tmp_path / "train/a.jpg").unlink()
    with pytest.raises(UserError, match=r"train, the first is 'a\.jpg'"):
        _ = AutoDataModule(tmp_path).train
    layouts.draw(tmp_path / "train", layouts.TRAIN)
    shutil.rmtree(tmp_path / "val")
    data = AutoDataModule(tmp_path)
    assert str(data.train.path(0)).endswith("/train/a.jpg")
    with pytest.raises(UserError, match="val"):
        _ = data.val


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    layouts.coco_cvat(tmp_path)
    for name in ("a.json", "a.csv", "data.yaml", "a.xml", "classes.txt", "images/p.jpg"):
        os.mkfifo(tmp_path / name)
    assert len(AutoDataModule(tmp_path).train) > 1


def test_text_files_are_measured_by_the_names_of_classes(tmp_path: Path) -> None:
    layouts.yolo_ultralytics(tmp_path)
    data = AutoDataModule(tmp_path, val_split="val")
    # As of a checkpoint whose classes have other numbers, in another order.
    split = data.read_val(("Dog", "bird", "cat"), (1, 2, 3))
    assert split.truth.category_ids == (1, 2, 3)
    found = {name.lower() for name, boxes in boxes_of(split).items() for name, _ in boxes}
    assert found == {"dog", "cat"}
    assert {k: [(n.lower(), b) for n, b in v] for k, v in boxes_of(split).items()} == layouts.VAL
    with pytest.raises(UserError, match=r"line 1: class . is none of the 1 known"):
        AutoDataModule(tmp_path, val_split="val").read_val(("horse", "cat"), (1, 2))


@pytest.mark.parametrize(
    ("annotations", "images"),
    [("SPLIT/boxes/SPLIT.json", "SPLIT/photos"), ("SPLIT.json", None), ("/SPLIT.json", None)],
)
def test_splits_of_folders_that_are_given(
    tmp_path: Path, annotations: str, images: str | None
) -> None:
    if annotations.startswith("/"):
        annotations = f"{tmp_path}{annotations}"
    for split, of in (("train", layouts.TRAIN), ("valid", layouts.VAL)):
        draw_into = tmp_path / (images or "SPLIT").replace("SPLIT", split)
        layouts.draw(draw_into, of)
        file = tmp_path / annotations.replace("SPLIT", split)
        layouts.write_json(file, layouts.coco(of, lambda stem: f"{stem}.jpg"))
    data = CocoDataModule(tmp_path, annotations=annotations, images=images, test_split="auto")
    assert (data.train.name, data.val.name, data.test) == ("train", "valid", None)
    named = CocoDataModule(
        tmp_path, annotations=annotations, images=images, train_split="valid", val_split="train"
    )
    assert named.train.truth.file_names.tolist() == ["v1.jpg", "v2.jpg"]


def test_a_list_of_one_class_may_be_named(tmp_path: Path) -> None:
    layouts.voc_official(tmp_path)
    data = VocDataModule(tmp_path, train_split="cat_train", val_split="cat_val", test_split="auto")
    assert len(data.train) == sum(bool(boxes) for boxes in layouts.TRAIN.values())
    assert data.test_split == "test"
