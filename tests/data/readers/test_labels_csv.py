"""Tables of boxes: columns of any name and order, values of any make."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from fcos_lightning.data.complaints import hearing
from fcos_lightning.data.readers.labels_csv import look_at, read_csv
from fcos_lightning.data.splits import NO_BOX, DataSplit
from fcos_lightning.errors import UserError

HEAD = "filename,xmin,ymin,xmax,ymax,class\n"


def read(folder: Path, content: bytes | str, **options: object) -> DataSplit:
    for name in ("a.png", "b, c.png"):
        Image.new("RGB", (100, 50)).save(folder / name)
    file = folder / "t.csv"
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_csv(file, folder, **{"name": "s", **options})


@pytest.mark.parametrize(
    "content",
    [
        HEAD + "a.png,1,2,30,40,x\n",
        "a.png,1,2,30,40,x\n",
        "Class;Y Max;X Max;Y Min;X Min;FileName;more\nx;40;30;2;1;a.png;\n",
        "filename\twidth\theight\tclass\txmin\tymin\txmax\tymax\na.png\t100\t50\tx\t1\t2\t30\t40\n",
        '"path","x1","y1","x2","y2","label"\r\n"a.png","1.0","2","30","40"," x "\r\n',
        (HEAD + "a.png,1,2,30,40,x\n").replace("\n", "\r"),
        (HEAD + "a.png,1,2,30,40,x\n").encode("utf-16"),
        (HEAD + "\n,,,,,\na.png,1,2,30,40,x\n\n").encode("utf-8-sig"),
    ],
)
def test_a_table_is_read_however_it_is_written(tmp_path: Path, content: bytes | str) -> None:
    split = read(tmp_path, content)
    assert split.truth.boxes_xyxy.tolist() == [[1, 2, 30, 40]]
    assert split.truth.class_names == ("x",) and split.truth.file_names.tolist() == ["a.png"]
    assert split.truth.sizes_hw.tolist() == [[50, 100]]


def test_names_with_commas_and_images_without_boxes(tmp_path: Path) -> None:
    split = read(tmp_path, HEAD + '"b, c.png",1,2,30,40,x\na.png,,,,,\na.png,,,,,\n')
    assert split.truth.file_names.tolist() == ["b, c.png", "a.png"]
    assert split.truth.first_box.tolist() == [0, 1, 1] and not split.dropped


def test_a_table_of_decimal_commas_is_said_also_where_complaints_are_kept(tmp_path: Path) -> None:
    content = HEAD.replace(",", ";") + "a.png;130,5;88,5;245,5;188,5;x\n" * 2
    said = r"t\.csv, line 2: the corners are '130,5, .*, not four numbers; correct them$"
    with pytest.raises(UserError, match=said):
        read(tmp_path, content)
    with hearing(), pytest.raises(UserError, match=said):
        read(tmp_path, content)


def test_half_of_a_box_is_dropped_and_counted(tmp_path: Path) -> None:
    content = HEAD + "a.png,1,2,30,40,x\na.png,1,2,,40,x\na.png,1,2,30,40,\n"
    split = read(tmp_path, content)
    assert split.dropped == {NO_BOX: 2} and len(split.truth.labels) == 1
    with pytest.raises(UserError, match=r"t\.csv, line 3: a box without a class"):
        read(tmp_path, content, strict=True)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("a.png,1,2,x,40,x", r"line 3: the corners are '1, 2, x, 40', not four numbers"),
        (",1,2,30,40,x", r"line 3: names the image ''"),
        ("../t.csv,1,2,30,40,x", "leads outside"),
        ("nowhere.png,1,2,30,40,x", "1 of 2 image files are not in"),
        ("a.png,1,2,30,40,y", r"line 3: class 'y' is none of the 1 known: x"),
        ('"a.png,1,2,30,40,x', "unexpected end of data"),
        ("a.png,1,2,30,40," + "x" * 200_000, "field larger than"),
    ],
)
def test_what_is_wrong_is_named_by_file_and_line(tmp_path: Path, row: str, said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        read(tmp_path, f"{HEAD}a.png,1,2,30,40,x\n{row}\n", class_names=["x"])
    assert "t.csv" in str(caught.value) and str(caught.value).isprintable()


@pytest.mark.parametrize(
    "content",
    ["", "\n", "a,b\n1,2\n", "name,size\na,3\n", "cat,0\ndog,1\n", "a.png,1,2,3,x,5\n", "\0\0"],
)
def test_other_tables_are_none_of_ours(tmp_path: Path, content: str) -> None:
    file = tmp_path / "t.csv"
    file.write_text(content)
    assert look_at(file) is None
    with pytest.raises(
        UserError, match="needs the columns filename, xmin, ymin, xmax, ymax and class"
    ):
        read(tmp_path, content)


def test_what_is_no_text(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not UTF-8 text"):
        read(tmp_path, HEAD.encode() + b"a.png,1,2,30,40,\xff\n")
