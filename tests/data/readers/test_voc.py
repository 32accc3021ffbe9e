"""VOC folders as they come. Each either reads right or gives one clear line."""

import time
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fcos_lightning.data.complaints import hearing
from fcos_lightning.data.readers.plausible import NO_AREA, NOT_FINITE, OUTSIDE, TOO_FAR
from fcos_lightning.data.readers.voc import read_voc
from fcos_lightning.data.readers.voc_xml import MAX_XML_BYTES
from fcos_lightning.data.splits import NO_BOX, DataSplit
from fcos_lightning.errors import UserError

WIDTH, HEIGHT = 100, 60
SIZE = f"<size><width>{WIDTH}</width><height>{HEIGHT}</height><depth>3</depth></size>"


def thing(name: str, corners: Sequence[object], extra: str = "") -> str:
    box = "".join(
        f"<{key}>{value}</{key}>"
        for key, value in zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True)
    )
    return f"<object><name>{name}</name>{extra}<bndbox>{box}</bndbox></object>"


class Maker:
    """Writes a VOC folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for folder in ("Annotations", "ImageSets/Main", "JPEGImages"):
            (root / folder).mkdir(parents=True)

    def image(self, stem: str, *objects: str, ending: str = ".jpg", size: str = SIZE) -> None:
        Image.new("RGB", (WIDTH, HEIGHT)).save(self.root / "JPEGImages" / f"{stem}{ending}")
        self.annotation(stem, f"<annotation>{size}{''.join(objects)}</annotation>")

    def annotation(self, stem: str, text: str | bytes) -> None:
        content = text if isinstance(text, bytes) else text.encode()
        (self.root / "Annotations" / f"{stem}.xml").write_bytes(content)

    def split(self, *lines: str, name: str = "train") -> None:
        text = "".join(f"{line}\n" for line in lines)
        (self.root / "ImageSets" / "Main" / f"{name}.txt").write_text(text, encoding="utf-8")

    def refused(self, **options: object) -> str:
        with pytest.raises(UserError) as caught:
            read_voc(self.root, "train", **options)  # type: ignore[arg-type]
        assert "\n" not in str(caught.value)
        return str(caught.value)


@pytest.fixture
def maker(tmp_path: Path) -> Maker:
    return Maker(tmp_path / "VOC")


def test_pixels_are_one_based_and_inclusive(maker: Maker) -> None:
    maker.image("b", thing("dog", (1, 1, 100, 60)), thing("cat", (10, 20, 30, 40)))
    maker.image("a", thing("ant", (2.5, "3.25", " 7.5 ", 9)))
    maker.split("b", "a")
    split = read_voc(maker.root, "train")
    truth = split.truth

    assert truth.boxes_xyxy.tolist() == [[0, 0, 100, 60], [9, 19, 30, 40], [1.5, 2.25, 7.5, 9]]
    assert truth.areas_px.tolist() == [6000, 21 * 21, 6 * 6.75]
    assert truth.class_names == ("ant", "cat", "dog") and truth.category_ids == (1, 2, 3)
    assert truth.labels.tolist() == [2, 1, 0]
    assert truth.image_ids.tolist() == [1, 2] and truth.file_names.tolist() == ["b.jpg", "a.jpg"]
    assert truth.first_box.tolist() == [0, 2, 3]
    assert truth.sizes_hw.tolist() == [[HEIGHT, WIDTH]] * 2
    assert split.name == "train" and dict(split.dropped) == {}
    assert split.image(0).shape == (HEIGHT, WIDTH, 3)


def test_difficult_objects_are_ignored_and_not_trained_on(maker: Maker) -> None:
    maker.image(
        "a",
        thing("dog", (1, 1, 9, 9), "<difficult>1</difficult>"),
        thing("dog", (2, 2, 9, 9), "<difficult> 0 </difficult>"),
        thing("dog", (3, 3, 9, 9), "<difficult/>"),
        thing("dog", (4, 4, 9, 9)),
    )
    maker.split("a")
    split = read_voc(maker.root, "train")
    assert split.truth.ignored.tolist() == [True, False, False, False]
    assert split.target(0)[0][:, 0].tolist() == [1, 2, 3]


def test_parts_of_an_object_are_no_objects(maker: Maker) -> None:
    part = "<part><name>head</name><bndbox><xmin>7</xmin></bndbox></part>"
    maker.image("a", thing("person", (1, 1, 9, 9), part))
    maker.split("a")
    truth = read_voc(maker.root, "train").truth
    assert truth.class_names == ("person",) and truth.boxes_xyxy.tolist() == [[0, 0, 9, 9]]


@pytest.mark.parametrize(
    ("said", "ignored"),
    [
        *(("Unspecified", 0), ("False", 0), ("no", 0), ("None", 0), ("0.0", 0)),
        *(("True", 1), (" TRUE ", 1), ("yes", 1), ("1.0", 1)),
    ],
)
def test_difficult_may_be_said_in_words(maker: Maker, said: str, ignored: int) -> None:
    maker.image("a", thing("dog", (1, 1, 9, 9), f"<difficult>{said}</difficult>"))
    maker.split("a")
    assert read_voc(maker.root, "train").truth.ignored.tolist() == [bool(ignored)]


@pytest.mark.parametrize(
    "lines", [("a  1", "b 0"), ("a", "", "  b  ", ""), ("\ufeffa", "b"), ("a\r", "b\r")]
)
def test_a_second_column_and_white_space_do_not_matter(maker: Maker, lines: Sequence[str]) -> None:
    maker.image("a", thing("dog", (1, 1, 9, 9)))
    maker.image("b")
    maker.split(*lines)
    assert read_voc(maker.root, "train").truth.file_names.tolist() == ["a.jpg", "b.jpg"]


def test_images_that_a_list_of_one_class_marks_as_without_it_are_left_out(maker: Maker) -> None:
    for stem in ("a", "b", "c", "d -1"):
        maker.image(stem, thing("dog", (1, 1, 9, 9)))
    maker.split("a  1", "b -1", "c -1", "d -1")
    split = read_voc(maker.root, "train")
    assert split.truth.file_names.tolist() == ["a.jpg", "d -1.jpg"]
    (remark,) = split.remarks
    assert remark.startswith("2 images are marked with -1 in") and "train.txt" in remark
    maker.split("a -1")
    assert "marks every image with -1" in maker.refused()


@pytest.mark.parametrize(
    "line",
    [
        *("a.jpg", "a.JPG", "a.xml", "a.png", "a.jpg 1", "./a", "JPEGImages/a.jpg"),
        *("VOC\\JPEGImages\\a.jpg", "C:\\data\\a.jpg", "/home/other/VOC/JPEGImages/a.jpg"),
        *("JPEGImages/a.jpg Annotations/a.xml", "a.jpg\t1"),
    ],
)
def test_a_list_may_name_images_with_an_ending_or_by_a_path(maker: Maker, line: str) -> None:
    maker.image("a", thing("dog", (1, 1, 9, 9)))
    maker.split(line)
    assert read_voc(maker.root, "train").truth.file_names.tolist() == ["a.jpg"]


def test_a_name_as_it_stands_comes_before_a_name_less_its_ending(maker: Maker) -> None:
    maker.image("a", thing("dog", (1, 1, 9, 9)))
    maker.image("a.jpg", thing("dog", (1, 1, 9, 9)))
    maker.split("a.jpg", "a")
    assert read_voc(maker.root, "train").truth.file_names.tolist() == ["a.jpg.jpg", "a.jpg"]


@pytest.mark.parametrize("line", ["sub/a", "sub/a.png", "./sub\\a"])
def test_a_path_below_the_image_folder_is_that_path(maker: Maker, line: str) -> None:
    maker.image("a", thing("cat", (1, 1, 9, 9)))
    for folder in ("JPEGImages", "Annotations"):
        (maker.root / folder / "sub").mkdir()
    maker.image("sub/a", thing("dog", (1, 1, 9, 9)), ending=".png")
    maker.split(line)
    truth = read_voc(maker.root, "train").truth
    assert truth.file_names.tolist() == ["sub/a.png"] and truth.class_names == ("dog",)


@pytest.mark.parametrize("ending", [".JPG", ".Png", ".jpeg"])
@pytest.mark.parametrize("line", ["DCIM/100/a.b", "DCIM\\100\\a.b", "DCIM/100/a.b{}"])
@pytest.mark.parametrize("xml", [".xml", ".XML"])
def test_images_in_folders_are_found_by_their_stems(
    maker: Maker, ending: str, line: str, xml: str
) -> None:
    for folder in ("JPEGImages", "Annotations"):
        (maker.root / folder / "DCIM/100").mkdir(parents=True)
    maker.image("a.b", thing("cat", (1, 1, 9, 9)))
    maker.image("DCIM/100/a.b", thing("dog", (1, 1, 9, 9)), ending=ending)
    written = maker.root / "Annotations/DCIM/100/a.b.xml"
    written.rename(written.with_suffix(xml))
    maker.split(line.format(ending))
    truth = read_voc(maker.root, "train").truth
    assert truth.file_names.tolist() == [f"DCIM/100/a.b{ending}"]
    assert truth.class_names == ("dog",)


def test_names_with_spaces_and_dots_are_found(maker: Maker) -> None:
    for stem in ("an image", "an", "image.v2"):
        maker.image(stem, thing("dog", (1, 1, 9, 9)))
    maker.split("an image", "an 1", "image.v2", "an image  1")
    split = read_voc(maker.root, "train")
    assert split.truth.file_names.tolist() == ["an image.jpg", "an.jpg", "image.v2.jpg"]


@pytest.mark.parametrize("ending", [".jpg", ".JPG", ".jpeg", ".png", ".bmp", ".TIF", ".webp"])
def test_images_of_other_endings_are_found(maker: Maker, ending: str) -> None:
    maker.image("a", thing("dog", (1, 1, 9, 9)), ending=ending)
    maker.split("a")
    split = read_voc(maker.root, "train")
    assert split.truth.file_names.tolist() == [f"a{ending}"]
    assert split.image(0).shape == (HEIGHT, WIDTH, 3)


@pytest.mark.parametrize("in_list", ["NFC", "NFD"])
@pytest.mark.parametrize("on_disk", ["NFC", "NFD"])
def test_unicode_names_load_in_either_form(maker: Maker, in_list: str, on_disk: str) -> None:
    name = "Ångström"
    maker.image(unicodedata.normalize(on_disk, name), thing("dog", (1, 1, 9, 9)))  # type: ignore[arg-type]
    maker.split(unicodedata.normalize(in_list, name))  # type: ignore[arg-type]
    assert read_voc(maker.root, "train").path(0).is_file()


@pytest.mark.parametrize(
    "size",
    ["", "<size/>", "<size><width>0</width><height>0</height></size>"]
    + [f"<size><width>{text}</width><height>9</height></size>" for text in ("x", "nan", "inf")],
)
def test_a_size_that_is_absent_or_zero_is_read_from_the_header(maker: Maker, size: str) -> None:
    maker.image("a", thing("dog", (1, 1, 9, 9)), size=size)
    maker.split("a")
    assert read_voc(maker.root, "train").truth.sizes_hw.tolist() == [[HEIGHT, WIDTH]]


# Classes


def test_given_classes_define_the_labels(maker: Maker) -> None:
    maker.image("a", thing("dog", (1, 1, 9, 9)))
    maker.split("a")
    truth = read_voc(maker.root, "train", class_names=["zebra", "dog", "ant"]).truth
    assert truth.class_names == ("zebra", "dog", "ant") and truth.labels.tolist() == [1]
    message = maker.refused(class_names=["cat", "bird"])
    assert "a.xml" in message and "'dog'" in message and "cat, bird" in message


def test_no_class_at_all_is_refused(maker: Maker) -> None:
    maker.image("a")
    maker.split("a")
    assert "no class" in maker.refused()
    assert "no class" in maker.refused(class_names=[])
    assert len(read_voc(maker.root, "train", class_names=["dog"]).truth.labels) == 0


def test_objects_none_of_which_can_be_read_are_said_where_complaints_are_kept(maker: Maker) -> None:
    maker.image("a", thing("cat", ("1,5", 1, 9, 9)))
    maker.split("a")
    said = maker.refused()
    assert "a.xml: object 1" in said and "1,5" in said
    with hearing():
        assert maker.refused() == said


def test_repeated_class_names_are_refused(maker: Maker) -> None:
    maker.image("a", thing("dog", (1, 1, 9, 9)))
    maker.split("a")
    assert "repeat" in maker.refused(class_names=["dog", "dog"])


# Boxes that lie


@pytest.mark.parametrize(
    ("corners", "reason"),
    [
        (("nan", 1, 9, 9), NOT_FINITE),
        ((1, 1, "1e400", 9), NOT_FINITE),
        ((1, 1, "3e9", 9), TOO_FAR),
        ((1, 1, "inf", 9), NOT_FINITE),
        ((9, 9, 9, 9), NO_AREA),
        ((9, 1, 5, 9), NO_AREA),
        ((101, 1, 120, 9), OUTSIDE),
        ((1, -20, 9, 0), OUTSIDE),
    ],
)
def test_a_bad_box_is_dropped_and_counted_or_refused(
    maker: Maker, corners: Sequence[object], reason: str
) -> None:
    maker.image("z", thing("dog", (1, 1, 9, 9)))
    maker.image("a", thing("dog", (2, 2, 9, 9)), thing("cat", corners), thing("dog", (3, 3, 9, 9)))
    maker.split("z", "a")
    split = read_voc(maker.root, "train")
    assert dict(split.dropped) == {reason: 1}
    assert split.truth.boxes_xyxy[:, 0].tolist() == [0, 1, 2]
    assert split.truth.class_names == ("cat", "dog")
    message = maker.refused(strict=True)
    assert "a.xml: image 'a.jpg', object 2: a box" in message and reason in message


def test_a_box_of_one_pixel_column_at_the_edge_stays(maker: Maker) -> None:
    maker.image("a", thing("dog", (100, 1, 120, 9)))
    maker.split("a")
    truth = read_voc(maker.root, "train", strict=True).truth
    assert truth.boxes_xyxy.tolist() == [[99, 0, 120, 9]]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("<object><bndbox/></object>", "object 1 has no name"),
        ("<object><name> </name></object>", "object 1 has no name"),
        (thing("dog", (1, 1, 2, 3)).replace("xmin", "left"), "('dog') has no bndbox/xmin"),
        (thing("dog", ("x", 1, 2, 3)), "has xmin 'x', not a number"),
        (thing("dog", (1, 1, "", 3)), "has xmax '', not a number"),
        (thing("dog", (1, 1, "1_0", 3)), "has xmax '1_0', not a number"),
        (thing("dog", ("\u0661", 1, 2, 3)), "not a number"),
        (thing("dog", ("5,5", 1, 9, 9)), "has xmin '5,5', not a number"),
        (thing("dog", (1, 1, 2, 3), "<difficult>2</difficult>"), "has difficult '2'"),
        (thing("dog", (1, 1, 2, 3), "<difficult>maybe</difficult>"), "has difficult 'maybe'"),
    ],
)
def test_broken_objects_are_refused(maker: Maker, content: str, expected: str) -> None:
    maker.image("a", content)
    maker.split("a")
    message = maker.refused()
    assert "a.xml" in message and expected in message


@pytest.mark.parametrize("box", ["", "<bndbox/>", "<polygon><x1>3</x1></polygon>"])
def test_an_object_without_a_box_is_dropped_and_counted_or_refused(maker: Maker, box: str) -> None:
    dog = thing("dog", (1, 1, 9, 9))
    maker.image("a", dog, f"<object><name>cat</name>{box}</object>", thing("dog", (9, 9, 9, 9)))
    maker.split("a")
    split = read_voc(maker.root, "train")
    assert dict(split.dropped) == {NO_BOX: 1, NO_AREA: 1}
    assert split.truth.class_names == ("dog",) and len(split.truth.labels) == 1
    assert "a.xml: object 2 has no bndbox" in maker.refused(strict=True)


def test_what_a_message_repeats_is_cut_and_can_be_printed(maker: Maker) -> None:
    maker.image("a", thing("x" * 200_000, (1, 1, 9, 9)))
    maker.image("b", thing("dog\u202e", (1, "&#127;", 9, 9)))
    for stem in "ab":
        maker.split(stem)
        message = maker.refused(class_names=["y" * 100_000] * 50)
        assert len(message) <= 1000 and message.isprintable()


# XML in other encodings


BOXED = f"<annotation>{SIZE}{thing('Möwe', (1, 1, 9, 9))}</annotation>"


@pytest.mark.parametrize(
    ("declared", "encoding"),
    [
        *(("", "utf-8"), ("utf-8", "utf-8-sig"), ("utf8", "utf-8"), ("UTF-16", "utf-16")),
        *(("iso-8859-1", "latin-1"), ("windows-1252", "cp1252"), ("", "utf-16")),
        *(("UTF-16", "utf-8"), ("utf-8", "utf-16"), ("utf-16", "utf-16-le")),
        *(("utf-16", "utf-16-be"), ("GB18030", "gb18030"), ("unicode", "utf-8")),
    ],
)
def test_xml_of_any_encoding_that_it_names_is_read(
    maker: Maker, declared: str, encoding: str
) -> None:
    maker.image("a")
    head = f'<?xml version="1.0" encoding="{declared}"?>\n' if declared else ""
    maker.annotation("a", (head + BOXED).encode(encoding))
    maker.split("a")
    assert read_voc(maker.root, "train").truth.class_names == ("Möwe",)


@pytest.mark.parametrize(
    ("declared", "encoding", "name"),
    [
        *(("gb2312", "gb2312", "螺丝"), ("GBK", "gbk", "螺絲"), ("big5", "big5", "螺絲")),
        *(
            ("Shift_JIS", "cp932", "ねじ"),
            ("euc-jp", "euc_jp", "ねじ"),
            ("EUC-KR", "cp949", "나사"),
        ),
    ],
)
def test_xml_of_east_asian_encodings_is_read(
    maker: Maker, declared: str, encoding: str, name: str
) -> None:
    maker.image("a")
    text = f"<?xml version='1.0' encoding='{declared}'?>" + BOXED.replace("Möwe", name)
    maker.annotation("a", text.encode(encoding))
    maker.split("a")
    assert read_voc(maker.root, "train").truth.class_names == (name,)


def test_xml_behind_blank_lines_is_read(maker: Maker) -> None:
    maker.image("a")
    maker.annotation("a", '\n \n<?xml version="1.0"?>' + BOXED)
    maker.split("a")
    assert len(read_voc(maker.root, "train").truth.labels) == 1


def test_bytes_that_are_no_text_matter_only_where_they_are_used(maker: Maker) -> None:
    maker.image("a")
    maker.split("a")
    maker.annotation("a", BOXED.replace("Möwe", "dog").encode() + b"<!-- M\xf6we -->")
    assert read_voc(maker.root, "train").truth.class_names == ("dog",)
    maker.annotation("a", BOXED.encode("latin-1"))
    assert "object 1 has name 'M\ufffdwe', no text" in maker.refused()


@pytest.mark.parametrize("encoding", ["rot13", "zlib", "punycode", "idna", "utf-7"])
def test_codecs_that_are_no_encodings_of_files_are_refused(maker: Maker, encoding: str) -> None:
    maker.image("a")
    maker.annotation("a", f"<?xml version='1.0' encoding='{encoding}'?><annotation/>")
    maker.split("a")
    assert "a.xml is not valid XML" in maker.refused()


# XML that hides things


LAUGHS = (
    '<!DOCTYPE a [<!ENTITY a "ha">'
    + "".join(
        f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
    + "]><annotation>&i;</annotation>"
)


@pytest.mark.parametrize(
    "text",
    [
        "<!DOCTYPE annotation><annotation/>",
        LAUGHS,
        '<!DOCTYPE a SYSTEM "http://localhost:1/a.dtd"><annotation/>',
        '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotation>&x;</annotation>',
        '<?xml version="1.0" encoding="UTF-16"?><!DOCTYPE a [<!ENTITY x "y">]><a/>'.encode(
            "utf-16"
        ),
        "<?xml version='1.0' encoding='gbk'?><!DOCTYPE a [<!ENTITY x 'y'>]><a/>",
        "\n<?xml version='1.0'?><!DOCTYPE a [<!ENTITY x 'y'>]><a/>",
        "<annotation>" + " " * MAX_XML_BYTES + "</annotation>",
        "<a>" * (MAX_XML_BYTES // 2),
    ],
    ids=[
        *("doctype", "laughs", "dtd", "external", "utf-16", "gbk", "blank"),
        *("large", "large and deep"),
    ],
)
def test_a_doctype_or_a_large_file_is_refused_at_once(maker: Maker, text: str | bytes) -> None:
    maker.image("a")
    maker.annotation("a", text)
    maker.split("a")
    begin = time.perf_counter()
    message = maker.refused()
    assert time.perf_counter() - begin < 0.1
    assert "a.xml" in message and "refused" in message


def test_a_file_of_just_the_limit_is_read(maker: Maker) -> None:
    whole = f"<annotation>{SIZE}{thing('dog', (1, 1, 9, 9))}%s</annotation>"
    maker.image("a")
    maker.annotation("a", whole % (" " * (MAX_XML_BYTES - len(whole) + 2)))
    maker.split("a")
    assert (maker.root / "Annotations" / "a.xml").stat().st_size == MAX_XML_BYTES
    assert len(read_voc(maker.root, "train").truth.labels) == 1


@pytest.mark.parametrize(
    "text",
    [
        *(b"", b"\x00", b"<annotation>", b"plain", b"<annotation>&x;</annotation>"),
        *(b"\xff\xd8\xff", b'<?xml version="1.0" encoding="no-such"?><annotation/>'),
        b"<a>" * 100_000,
    ],
)
def test_broken_xml_is_refused(maker: Maker, text: bytes) -> None:
    maker.image("a")
    maker.annotation("a", text)
    maker.split("a")
    message = maker.refused()
    assert "a.xml is not valid XML" in message


def test_xml_nested_deep_is_read_without_harm(maker: Maker) -> None:
    depth = 100_000
    maker.image("a", thing("dog", (1, 1, 9, 9)), "<a>" * depth + "</a>" * depth)
    maker.split("a")
    assert len(read_voc(maker.root, "train").truth.labels) == 1


def test_xml_of_another_kind_is_refused(maker: Maker) -> None:
    maker.image("a")
    maker.annotation("a", "<html><body>404</body></html>")
    maker.split("a")
    assert "a.xml is no VOC annotation" in maker.refused()


# Files on disk


def test_a_missing_split_lists_those_that_exist(maker: Maker) -> None:
    for name in ("val", "trainval"):
        maker.split("a", name=name)
    message = maker.refused()
    assert "train.txt does not exist" in message and "trainval, val" in message


def test_a_missing_split_without_others_says_so(maker: Maker) -> None:
    assert "there are no splits" in maker.refused()


@pytest.mark.parametrize("lines", [(), ("", "  ")])
def test_an_empty_split_is_refused(maker: Maker, lines: Sequence[str]) -> None:
    maker.split(*lines)
    assert "train.txt is empty" in maker.refused()


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_a_split_file_may_begin_with_a_mark_of_its_encoding(maker: Maker, encoding: str) -> None:
    maker.image("a", thing("dog", (1, 1, 9, 9)))
    (maker.root / "ImageSets" / "Main" / "train.txt").write_bytes("a\r\n".encode(encoding))
    assert len(read_voc(maker.root, "train")) == 1


def test_a_split_file_that_is_no_text_is_refused(maker: Maker) -> None:
    (maker.root / "ImageSets" / "Main" / "train.txt").write_bytes(b"\xff\xd8\xff\xe0")
    assert "train.txt is not UTF-8" in maker.refused()


def test_an_image_listed_twice_is_taken_once_and_said(maker: Maker) -> None:
    maker.image("a", thing("dog", (1, 1, 9, 9)))
    maker.image("b", thing("dog", (1, 1, 9, 9)))
    maker.split("a", "b", "a.jpg")
    split = read_voc(maker.root, "train")
    assert split.truth.file_names.tolist() == ["a.jpg", "b.jpg"]
    (remark,) = split.remarks
    assert remark.startswith("1 lines of") and "train.txt name an image again" in remark


@pytest.mark.parametrize("kind", ["image", "annotation"])
def test_missing_files_are_counted_and_the_first_is_named(maker: Maker, kind: str) -> None:
    for stem in "abc":
        maker.image(stem, thing("dog", (1, 1, 9, 9)))
    maker.split("a", "b", "c")
    for stem in "bc":
        path = f"JPEGImages/{stem}.jpg" if kind == "image" else f"Annotations/{stem}.xml"
        (maker.root / path).unlink()
    message = maker.refused()
    first = "'b.jpg'" if kind == "image" else "'b.xml'"
    assert f"2 of 3 {kind} files" in message and first in message and "train.txt" in message


@pytest.mark.parametrize("line", ["../../x", "/etc/passwd", "../Annotations/../../x"])
def test_a_name_that_leads_outside_is_refused(maker: Maker, line: str) -> None:
    Image.new("L", (4, 4)).save(maker.root.parent / "x.jpg")
    maker.split(line)
    assert "leads outside the image folder" in maker.refused()


def test_an_annotation_link_that_leads_outside_is_refused(maker: Maker) -> None:
    maker.image("a", thing("dog", (1, 1, 9, 9)))
    inside = maker.root / "Annotations" / "a.xml"
    inside.rename(maker.root.parent / "a.xml")
    inside.symlink_to(maker.root.parent / "a.xml")
    maker.split("a")
    assert "leads outside the annotation folder" in maker.refused()


def test_a_folder_around_the_layout_is_looked_into(maker: Maker) -> None:
    maker.image("a", thing("dog", (1, 1, 9, 9)))
    maker.split("a")
    assert len(read_voc(maker.root.parent, "train")) == 1
    Maker(maker.root.parent / "VOC2012")
    with pytest.raises(UserError, match="several VOC data sets, name one of them: VOC, VOC2012"):
        read_voc(maker.root.parent, "train")


@pytest.mark.parametrize("folder", ["JPEGImages", "Annotations"])
def test_missing_folders_are_refused(maker: Maker, folder: str) -> None:
    maker.split("a")
    (maker.root / folder).rmdir()
    assert f"{folder} does not exist or is not a folder" in maker.refused()


def test_other_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not in VOC layout"):
        read_voc(tmp_path, "train")
    with pytest.raises(UserError, match="gone does not exist"):
        read_voc(tmp_path / "gone", "train")


# Without lists


@pytest.mark.parametrize(
    ("xml", "images"),
    [
        *(("train", "train"), ("train/Annotations", "train/JPEGImages")),
        *(("train/annotations", "train/images"), ("Annotations/train", "JPEGImages/train")),
    ],
)
def test_folders_of_a_split_need_no_list(tmp_path: Path, xml: str, images: str) -> None:
    unlisted(tmp_path, xml, images)
    split = read_voc(tmp_path, "train")
    assert split.truth.file_names.tolist() == ["a.jpg", "b.PNG"] and split.remarks == ()
    assert split.image_dir == tmp_path / images and split.name == "train"


def unlisted(root: Path, xml: str, images: str) -> None:
    for folder in (xml, images):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for stem, ending in (("b", ".PNG"), ("a", ".jpg")):
        Image.new("RGB", (WIDTH, HEIGHT)).save(root / images / f"{stem}{ending}")
        text = f"<annotation>{SIZE}{thing('dog', (1, 1, 9, 9))}</annotation>"
        (root / xml / f"{stem}.xml").write_text(text)


def test_other_folders_can_be_named(tmp_path: Path) -> None:
    unlisted(tmp_path, "labels/voc/train", "pictures/train")
    with pytest.raises(UserError, match=r"data\.annotations and data\.images can name others"):
        read_voc(tmp_path, "train")
    named = {"annotations": "labels/voc/SPLIT", "images": "pictures/SPLIT"}
    assert len(read_voc(tmp_path, "train", **named)) == 2
    with pytest.raises(UserError, match=r"train2 does not exist"):
        read_voc(tmp_path, "train2", **named)


def test_a_list_counts_in_named_folders_too(tmp_path: Path) -> None:
    unlisted(tmp_path, "xml", "images")
    named = {"annotations": "xml", "images": "images"}
    with pytest.raises(UserError, match=r"split file .*train\.txt does not exist"):
        read_voc(tmp_path, "train", **named)
    (tmp_path / "ImageSets" / "Main").mkdir(parents=True)
    (tmp_path / "ImageSets" / "Main" / "train.txt").write_text("b\n")
    assert read_voc(tmp_path, "train", **named).truth.file_names.tolist() == ["b.PNG"]


def test_images_without_xml_are_left_out_and_said(tmp_path: Path) -> None:
    unlisted(tmp_path, "train", "train")
    Image.new("L", (4, 4)).save(tmp_path / "train" / "c.jpg")
    split = read_voc(tmp_path, "train")
    assert len(split) == 2
    assert split.remarks == (
        f"1 images of {tmp_path / 'train'} have no XML file; they are left out",
    )
    (tmp_path / "train" / "a.jpg").unlink()
    with pytest.raises(UserError, match=r"1 of 2 image files are not in .* 'a\.jpg'"):
        read_voc(tmp_path, "train")


# Real files


def bccd(shared: Path, split: str) -> DataSplit:
    return read_voc(shared / "data" / "bccd", split)


def test_bccd_reads_whole(shared: Path) -> None:
    trainval, test = bccd(shared, "trainval"), bccd(shared, "test")
    assert (len(trainval), len(test)) == (292, 72)
    assert trainval.truth.class_names == test.truth.class_names == ("Platelets", "RBC", "WBC")
    assert (len(trainval.truth.labels), len(test.truth.labels)) == (3941, 945)
    assert dict(trainval.dropped) == {NO_AREA: 2} and dict(test.dropped) == {}
    assert not trainval.truth.ignored.any()
    for image in range(0, 292, 20):
        assert trainval.image(image).shape == (480, 640, 3)


def test_bccd_is_refused_when_strict(shared: Path) -> None:
    with pytest.raises(UserError, match=r"BloodImage_00338\.xml.*zero or negative size"):
        read_voc(shared / "data" / "bccd", "trainval", strict=True)


def test_bccd_boxes_are_those_of_the_xml(shared: Path) -> None:
    truth = bccd(shared, "trainval").truth
    assert truth.file_names[0] == "BloodImage_00000.jpg"
    rows = truth.rows(0)
    assert truth.boxes_xyxy[rows][:2].tolist() == [[259, 176, 491, 376], [77, 335, 184, 435]]
    assert np.take(truth.class_names, truth.labels[rows])[:2].tolist() == ["WBC", "RBC"]
