"""Annotations that cannot be read, and files that belong to nothing, in each format."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.data import layouts
from tests.doctor.data_sets import SMALL, examine, one, only, picture

from fcos_lightning.data import AutoDataModule
from fcos_lightning.errors import UserError

#: What the tiny data sets of ``layouts`` have beside: pictures of few colours look alike, and sets
#: of two images have not every class.
OF_LAYOUTS = (
    *SMALL,
    *("image.near_duplicate", "split.near", "annotation.remark", "class.not_learnt"),
    *("class.unused", "box.crowded_out", "image.unused"),
)


def yolo(root: Path) -> Path:
    layouts.yolo_without_yaml(root)
    return root / "train/labels"


def test_lines_that_are_none_are_all_told(tmp_path: Path) -> None:
    labels = yolo(tmp_path)
    with (labels / "a.txt").open("a") as file:
        file.write("0 0.5 0.5\nnonsense here and there 1\n")
    kind = only(examine(tmp_path), *OF_LAYOUTS)
    assert kind.code == "annotation.unreadable" and kind.severity == "error"
    assert [finding.place for finding in kind.kept] == ["line 2", "line 3"]
    assert {finding.file for finding in kind.kept} == {str(labels / "a.txt")}
    with pytest.raises(UserError, match=r"a\.txt, line 2"):
        AutoDataModule(tmp_path).train  # noqa: B018  # reading it is the test


def test_a_text_file_that_is_no_text(tmp_path: Path) -> None:
    labels = yolo(tmp_path)
    (labels / "a.txt").write_bytes(b"0 0.5 0.5 0.1 \xff\n")
    finding = one(only(examine(tmp_path), *OF_LAYOUTS))
    assert finding.message.endswith("is not UTF-8 text")


def test_images_that_yolo_cannot_size_are_found_too(tmp_path: Path) -> None:
    labels = yolo(tmp_path)
    (labels.parent / "images/a.jpg").write_bytes(b"\xff\xd8\xff")
    kinds = examine(tmp_path)
    assert one(kinds["image.unreadable"]).file.endswith("train/images/a.jpg")
    assert not {"box.no_area", "box.outside", "box.order", "box.one_pixel"} & set(kinds)


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (("<annotation>", "<annotation"), ""),
        (("<xmin>", "<xmin>x"), "object 1"),
        (("<name>cat</name>", "<name></name>"), "object 1"),
    ],
)
def test_xml_that_cannot_be_read(tmp_path: Path, change: tuple[str, str], place: str) -> None:
    layouts.voc_official(tmp_path)
    file = tmp_path / "Annotations/a.xml"
    file.write_text(file.read_text().replace(*change))
    kind = only(examine(tmp_path), *OF_LAYOUTS)
    assert kind.code == "annotation.unreadable"
    assert (one(kind).file, one(kind).place) == (str(file), place)


def test_xml_and_image_that_are_not_there(tmp_path: Path) -> None:
    layouts.voc_official(tmp_path)
    (tmp_path / "Annotations/a.xml").unlink()
    (tmp_path / "JPEGImages/v1.jpg").unlink()
    kinds = examine(tmp_path)
    assert one(kinds["annotation.unreadable"]).file.endswith("a.xml")
    assert one(kinds["image.missing"]).file.endswith("v1.jpg")


def test_a_table_with_bad_corners_and_a_missing_image(tmp_path: Path) -> None:
    layouts.csv_keras(tmp_path)
    with (tmp_path / "annotations.csv").open("a") as table:
        table.write("images/a.jpg,1,2,many,30,cat\nimages/gone.jpg,1,1,20,20,cat\n")
    kinds = examine(tmp_path)
    assert one(kinds["annotation.unreadable"]).place.startswith("line ")
    assert one(kinds["image.missing"]).file.endswith("gone.jpg")


def test_a_class_that_the_training_set_has_not(tmp_path: Path) -> None:
    layouts.voc_official(tmp_path)
    file = tmp_path / "Annotations/v1.xml"
    file.write_text(file.read_text().replace("cat", "catt").replace("dog", "catt"))
    kind = examine(tmp_path)["class.unknown"]
    assert one(kind).file == str(file) and one(kind).split == "val"


def test_complaints_beyond_the_most_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fcos_lightning.data.complaints.MOST_KEPT", 2)
    labels = yolo(tmp_path)
    (labels / "a.txt").write_text("x\n" * 1 + "".join(f"y{i} 1\n" for i in range(4)))
    kind = examine(tmp_path)["annotation.unreadable"]
    assert kind.count == 5 and kind.kept[0].place == "line 1"


# Files that belong to nothing


def test_an_image_that_nothing_lists(tmp_path: Path) -> None:
    layouts.coco_cvat(tmp_path)
    assert "image.unused" not in examine(tmp_path)
    picture(5).save(tmp_path / "images/extra.png")
    (tmp_path / "masks").mkdir()
    picture(6).save(tmp_path / "masks/other.png")  # not among those of the data set
    assert one(examine(tmp_path)["image.unused"]).file == str(tmp_path / "images/extra.png")


def test_a_text_file_without_an_image(tmp_path: Path) -> None:
    labels = yolo(tmp_path)
    assert "annotation.no_file" not in examine(tmp_path)
    (labels / "gone.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    (labels / "classes.txt").write_text("cat\ndog\n")
    assert one(examine(tmp_path)["annotation.no_file"]).file == str(labels / "gone.txt")


def test_an_xml_without_an_image(tmp_path: Path) -> None:
    layouts.voc_without_lists(tmp_path)
    (tmp_path / "JPEGImages/a.png").unlink()
    assert one(examine(tmp_path)["image.missing"]).file.endswith("a.jpg")


def test_what_a_reader_remarks_is_a_note(tmp_path: Path) -> None:
    labels = yolo(tmp_path)
    with (labels / "a.txt").open("a") as file:
        file.write("0 0.2 0.2 0.4 0.2 0.4 0.6\n")
    kind = examine(tmp_path)["annotation.remark"]
    assert kind.severity == "note"
    assert any("1 outlines" in finding.message for finding in kind.kept)


@pytest.mark.parametrize("layout", layouts.LAYOUTS)
def test_no_layout_has_an_error(tmp_path: Path, layout: str) -> None:
    layouts.LAYOUTS[layout](tmp_path)
    kinds = examine(tmp_path)
    assert set(kinds) <= set(OF_LAYOUTS), sorted(kinds)
    assert not [kind for kind in kinds.values() if kind.severity == "error"]
