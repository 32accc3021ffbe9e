"""Text files of the YOLO family, line by line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from fcos_lightning.data.readers.plausible import NOT_FINITE, OUTSIDE
from fcos_lightning.data.readers.yolo import MAX_BYTES, read_yolo
from fcos_lightning.data.readers.yolo_yaml import read_data_yaml
from fcos_lightning.data.splits import DataSplit
from fcos_lightning.errors import UserError


def read(folder: Path, content: bytes | str | None, **options: object) -> DataSplit:
    Image.new("RGB", (100, 50)).save(folder / "a.png")
    label = folder / "a.txt"
    if isinstance(content, str):
        content = content.encode()
    if content is not None:
        label.write_bytes(content)
    given = {"name": "s", "class_names": ["x", "y"], **options}
    return read_yolo(folder, ["a.png"], [label if content is not None else None], **given)


def test_a_box_is_centre_and_size_in_parts_of_the_image(tmp_path: Path) -> None:
    split = read(tmp_path, "1 0.5 0.5 0.2 0.4\n\n 0\t0.05 0.1 0.1 0.2 \r\n")
    assert split.truth.boxes_xyxy.tolist() == [[40, 15, 60, 35], [0, 0, 10, 10]]
    assert split.truth.labels.tolist() == [1, 0] and split.truth.category_ids == (0, 1)
    assert not split.remarks


@pytest.mark.parametrize(
    "content",
    [
        "0 .5 .5 .2 .4".encode("utf-16"),
        b"\xef\xbb\xbf0 .5 .5 .2 .4",
        b"0.0 .5 .5 2e-1 .4",
        b"0 .5 .5 .2 .4\r0 .5 .5 .2 .4\r",
    ],
)
def test_what_means_the_same_is_read_the_same(tmp_path: Path, content: bytes) -> None:
    assert read(tmp_path, content).truth.boxes_xyxy.round(9).tolist() == [[40, 15, 60, 35]]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("0 .5 .5 .2", "line 2: expected a class from 0 and at least four numbers"),
        ("x .5 .5 .2 .4", "line 2: expected a class"),
        ("-1 .5 .5 .2 .4", "line 2: expected a class"),
        ("0 .5 .5 .2 wide", "line 2: expected a class"),
        ("2 .5 .5 .2 .4", r"line 2: class 2 is none of the 2 known, which are 0 to 1"),
        ("0 .5 .5 .2 " + "9" * 5000 + "x", "line 2: expected"),
    ],
)
def test_what_is_no_box_is_named_by_file_and_line(tmp_path: Path, line: str, said: str) -> None:
    with pytest.raises(UserError, match=rf"a\.txt, {said}"):
        read(tmp_path, f"0 .5 .5 .2 .4\n{line}\n")


def test_files_that_are_no_text_or_too_large(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a\.txt is not UTF-8 text"):
        read(tmp_path, b"0 .5 .5 .2 .4 \xff")
    with pytest.raises(UserError, match=r"a\.txt is over .* bytes"):
        read(tmp_path, b" " * (MAX_BYTES + 1))
    with pytest.raises(UserError, match=r"cannot be read: Is a directory"):
        read_yolo(tmp_path, ["a.png"], [tmp_path], name="s", class_names=["x"])


def test_outlines_key_points_and_more(tmp_path: Path) -> None:
    outline = "0 .1 .2 .3 .2 .3 .8 .1 .8"
    split = read(tmp_path, f"{outline}\n0 .5 .5 .2 .4 .9\n")
    assert split.truth.boxes_xyxy.round(6).tolist() == [[10, 10, 30, 40], [40, 15, 60, 35]]
    assert split.remarks == (
        "1 outlines or oriented boxes became the boxes around them",
        "1 lines hold more than a box; the rest is not used",
    )
    points = read(tmp_path, "0 .5 .5 .2 .4 .1 .1 2 .9 .9 2", key_points=True)
    assert points.truth.boxes_xyxy.round(6).tolist() == [[40, 15, 60, 35]]


def test_what_cannot_be_is_dropped_and_counted(tmp_path: Path) -> None:
    content = "0 nan .5 .2 .4\n0 .5 .5 inf .4\n0 3 3 .1 .1\n0 .5 .5 .2 .4\n0 .5 .5 .2 .4\n"
    split = read(tmp_path, content)
    assert split.dropped == {NOT_FINITE: 2, OUTSIDE: 1} and len(split.truth.labels) == 1
    assert split.remarks == ("1 lines stand twice in their file; they are taken once",)
    with pytest.raises(UserError, match=r"a\.txt, line 1: a box with NaN"):
        read(tmp_path, content, strict=True)
    assert "parts of the image, not pixels" in read(tmp_path, "0 50 25 20 20").remarks[-1]


def test_an_image_without_a_file_has_no_objects(tmp_path: Path) -> None:
    split = read(tmp_path, None)
    assert len(split) == 1 and not len(split.truth.labels)
    assert split.remarks == ("1 images have no text file; they count as images without objects",)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_are_of_the_image_as_it_is_looked_at(tmp_path: Path, orientation: int) -> None:
    pixels = np.zeros((40, 100, 3), dtype=np.uint8)
    pixels[5:20, 10:70] = 255
    image = Image.fromarray(pixels)
    exif = image.getexif()
    exif[0x0112] = orientation
    image.save(tmp_path / "a.png", exif=exif)
    with Image.open(tmp_path / "a.png") as opened:
        seen = np.asarray(ImageOps.exif_transpose(opened).convert("L"))
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    x1, x2, y1, y2 = columns[0], columns[-1] + 1, rows[0], rows[-1] + 1
    height, width = seen.shape
    line = [(x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height]
    (tmp_path / "a.txt").write_text("0 " + " ".join(map(str, line)))
    split = read_yolo(tmp_path, ["a.png"], [tmp_path / "a.txt"], name="s", class_names=["x"])
    assert split.truth.sizes_hw.tolist() == [[40, 100]]
    assert split.truth.boxes_xyxy.round(6).tolist() == [[10, 5, 70, 20]]
    assert split.image(0).shape == (40, 100, 3)
    assert bool(split.remarks) == (orientation > 1)


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ("names: [no, 1e3, 2001-01-01, ~]", {0: "no", 1: "1e3", 2: "2001-01-01", 3: "~"}),
        ("names:\n  0: a\n  7: 'b  c'", {0: "a", 7: "b c"}),
        ("names: ['${oc.env:HOME}']", {0: "${oc.env:HOME}"}),
        ("nc: 2\ntrain: x", None),
    ],
)
def test_names_are_text(tmp_path: Path, content: str, names: dict[int, str] | None) -> None:
    file = tmp_path / "data.yaml"
    file.write_text(content)
    found = read_data_yaml(file)
    assert found is not None and found.names == names


@pytest.mark.parametrize(
    "content",
    [
        *(
            "",
            "[",
            "x: 1",
            "train: x",
            "- names",
            "names: &a [x]",
            "names: [*a]",
            "\0",
            "names: " + "[" * 50,
        ),
        "a: &a [x, x]\nb: &b [*a, *a]\nnames: *b",
    ],
)
def test_other_yaml_is_none_of_ours(tmp_path: Path, content: str) -> None:
    file = tmp_path / "data.yaml"
    file.write_text(content)
    assert read_data_yaml(file) is None


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("names: x", "names is 'x', not a list"),
        ("names: {a: x}", "names has the key 'a'"),
        ("names: [[x]]", r"names\[0\] is .* not a name"),
        ("names: ['']", r"names\[0\] is '', not a name"),
        ("nc: 1\ntrain: {a: b}", "train is .* not a path"),
        ("nc: 1\ntrain: x\npath: [y]", "path is .* not a path"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, content: str, said: str) -> None:
    file = tmp_path / "data.yaml"
    file.write_text(content)
    with pytest.raises(UserError, match=rf"data\.yaml: {said}"):
        read_data_yaml(file)
