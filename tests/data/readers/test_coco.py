"""COCO files as they come: sparse, odd, broken. Each either reads right or gives one clear line."""

import json
import os
import pickle
import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fcos_lightning.data.readers.coco import UNKNOWN_IMAGE, read_coco
from fcos_lightning.data.readers.plausible import NO_AREA, NOT_FINITE, OUTSIDE, TOO_FAR
from fcos_lightning.data.splits import (
    NO_BOX,
    DataSplit,
)
from fcos_lightning.errors import UserError

WIDTH, HEIGHT = 100, 60


class Maker:
    """Writes an image folder and a JSON beside it."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "instances.json"
        self.images = folder / "images"
        self.images.mkdir()
        self.content: dict[str, Any] = {
            "images": [],
            "annotations": [],
            "categories": [
                {"id": 90, "name": "toothbrush"},
                {"id": 7, "name": "train"},
                {"id": 0, "name": "zero"},
            ],
        }

    def image(self, number: int, name: str | None = None, **fields: Any) -> None:
        name = name or f"{number}.png"
        (self.images / name).parent.mkdir(exist_ok=True)
        Image.new("L", (WIDTH, HEIGHT)).save(self.images / name)
        self.content["images"].append(
            {"id": number, "file_name": name, "width": WIDTH, "height": HEIGHT, **fields}
        )

    def box(self, image: int, bbox: Any, category: Any = 7, **fields: Any) -> None:
        self.content["annotations"].append(
            {"image_id": image, "bbox": bbox, "category_id": category, **fields}
        )

    def read(self, **options: Any) -> DataSplit:
        self.file.write_text(json.dumps(self.content))
        return read_coco(self.file, self.images, **options)

    def refused(self, **options: Any) -> str:
        with pytest.raises(UserError) as caught:
            self.read(**options)
        message = str(caught.value)
        assert "\n" not in message and "instances.json" in message
        return message


@pytest.fixture
def maker(tmp_path: Path) -> Maker:
    return Maker(tmp_path)


def test_bbox_category_and_image_are_enough(maker: Maker) -> None:
    maker.image(5)
    maker.image(3)
    maker.box(3, [10.1, 20.2, 30.3, 15.4], 90)
    maker.box(5, [1, 2, 3, 4], 0)
    maker.box(3, [0, 0, 8, 8], 7, iscrowd=1, area=31.5)

    split = maker.read()
    truth = split.truth

    assert len(split) == 2 and split.name == "instances" and dict(split.dropped) == {}
    assert truth.image_ids.tolist() == [5, 3]
    assert truth.first_box.tolist() == [0, 1, 3]
    assert truth.sizes_hw.tolist() == [[HEIGHT, WIDTH]] * 2
    assert truth.boxes_xyxy.dtype == np.float64
    np.testing.assert_array_equal(
        truth.boxes_xyxy, [[1, 2, 4, 6], [10.1, 20.2, 10.1 + 30.3, 20.2 + 15.4], [0, 0, 8, 8]]
    )
    assert truth.ignored.tolist() == [False, False, True]
    np.testing.assert_allclose(truth.areas_px, [12, 30.3 * 15.4, 31.5], rtol=1e-14)
    assert split.path(1) == maker.images / "3.png"
    boxes, labels = split.target(1)
    assert boxes.shape == (1, 4) and boxes.dtype == np.float64
    assert labels.tolist() == [2] and labels.dtype == np.int64


def test_boxes_keep_their_order_within_each_image(maker: Maker) -> None:
    for image in range(3):
        maker.image(image)
    for number in range(600):
        maker.box(number % 3, [number / 10, 1, 2, 3])
    truth = maker.read().truth
    for image in range(3):
        expected = np.arange(image, 600, 3) / 10
        np.testing.assert_array_equal(truth.boxes_xyxy[truth.rows(image), 0], expected)


def test_category_ids_round_trip_annotated_or_not(maker: Maker) -> None:
    maker.image(1)
    for category in (90, 0, 90):
        maker.box(1, [1, 2, 3, 4], category)
    truth = maker.read().truth

    assert truth.category_ids == (0, 7, 90)
    assert truth.class_names == ("zero", "train", "toothbrush")
    assert truth.labels.tolist() == [2, 0, 2]
    assert [truth.category_ids[label] for label in truth.labels] == [90, 0, 90]


def test_an_image_without_boxes_is_ordinary(maker: Maker) -> None:
    maker.image(1)
    split = maker.read()
    boxes, labels = split.target(0)
    assert boxes.shape == (0, 4) and labels.shape == (0,)
    assert split.truth.boxes_xyxy.shape == (0, 4)


@pytest.mark.parametrize("absent", [{}, {"area": None, "iscrowd": None}])
def test_missing_area_and_iscrowd_are_filled_in(maker: Maker, absent: dict[str, None]) -> None:
    maker.image(1)
    maker.box(1, [1, 2, 3, 4], **absent)
    truth = maker.read().truth
    assert truth.areas_px.tolist() == [12] and truth.ignored.tolist() == [False]


@pytest.mark.parametrize("size", [None, 0])
def test_a_missing_size_is_read_from_the_header(maker: Maker, size: int | None) -> None:
    maker.image(1, width=size, height=size)
    maker.image(2)
    del maker.content["images"][1]["width"]
    assert maker.read().truth.sizes_hw.tolist() == [[HEIGHT, WIDTH]] * 2


@pytest.mark.parametrize("ids", [[0, 1], [4, 4], [None, None], ["a", "b"]])
def test_annotation_ids_do_not_matter(maker: Maker, ids: list[Any]) -> None:
    maker.image(1)
    for number in ids:
        maker.box(1, [1, 2, 3, 4], id=number)
    assert len(maker.read().truth.labels) == 2


def test_whole_numbers_may_be_written_as_floats(maker: Maker) -> None:
    maker.image(1, width=100.0)
    maker.content["images"][0]["id"] = 1.0
    maker.box(1, [1, 2, 3, 4], 7.0, iscrowd=1.0)
    truth = maker.read().truth
    assert truth.image_ids.tolist() == [1] and truth.ignored.tolist() == [True]


# Boxes that lie


BAD_BOXES = {
    "nan": ([1, float("nan"), 5, 5], NOT_FINITE),
    "null": ([1, None, 5, 5], NOT_FINITE),
    "infinite": ([1, 2, float("inf"), 5], NOT_FINITE),
    "overflow": ([1e308, 2, 1e308, 5], NOT_FINITE),
    "zero width": ([1, 2, 0, 5], NO_AREA),
    "negative height": ([1, 2, 5, -5], NO_AREA),
    "beyond any image": ([-5, -5, 1e38, 1e38], TOO_FAR),
    "far to the left": ([-1e15, 2, 2e15, 5], TOO_FAR),
    "right of the image": ([WIDTH, 0, 5, 5], OUTSIDE),
    "left of the image": ([-5, 0, 5, 5], OUTSIDE),
    "below the image": ([0, HEIGHT + 3.5, 5, 5], OUTSIDE),
    "above the image": ([0, -9, 5, 8], OUTSIDE),
}


@pytest.mark.parametrize("name", BAD_BOXES)
def test_a_bad_box_is_dropped_and_counted_or_refused(maker: Maker, name: str) -> None:
    bbox, reason = BAD_BOXES[name]
    maker.image(1)
    maker.image(2)
    maker.box(2, [1, 2, 3, 4], 90, id=40)
    maker.box(1, bbox, 0, id=41)
    maker.box(1, [5, 6, 7, 8], 7, id=42)

    split = maker.read()
    assert dict(split.dropped) == {reason: 1}
    assert split.truth.labels.tolist() == [1, 2]
    assert split.truth.boxes_xyxy.tolist() == [[5, 6, 12, 14], [1, 2, 4, 6]]

    message = maker.refused(strict=True)
    assert "'1.png'" in message and "annotation id 41 " in message and reason in message


def test_every_bad_box_is_counted_once(maker: Maker) -> None:
    maker.image(1)
    for bbox, _ in BAD_BOXES.values():
        maker.box(1, bbox)
    maker.box(1, [WIDTH + 5, 2, -3, 4])  # without area and outside
    split = maker.read()
    assert dict(split.dropped) == {NOT_FINITE: 4, TOO_FAR: 2, NO_AREA: 3, OUTSIDE: 4}
    assert len(split.truth.labels) == 0


def test_a_box_partly_outside_stays_as_annotated(maker: Maker) -> None:
    maker.image(1)
    maker.box(1, [-5.5, 50, 200, 20])
    split = maker.read(strict=True)
    assert split.truth.boxes_xyxy.tolist() == [[-5.5, 50, 194.5, 70]]
    assert dict(split.dropped) == {}


def test_an_annotation_of_an_unlisted_image_is_counted_or_refused(maker: Maker) -> None:
    maker.image(2)
    for image in (1, 2, 3):
        maker.box(image, [1, 2, 3, 4], id=image + 10)
    split = maker.read()
    assert dict(split.dropped) == {UNKNOWN_IMAGE: 2} and len(split.truth.labels) == 1
    assert "annotation id 11 belongs to image id 1" in maker.refused(strict=True)


@pytest.mark.parametrize(
    "bbox",
    [["1", "2", "3", "x"], [1, 2, 3, ""], [1, 2, 3], "1234", [[1], 2, 3, 4], {}, [True, 2, 3, 4]],
)
def test_a_bbox_that_is_not_four_numbers_is_refused(maker: Maker, bbox: Any) -> None:
    maker.image(1)
    maker.box(1, [1, 2, 3, 4], id=8)
    maker.box(1, bbox, id=9)
    assert "annotations[1] (id 9) has a bbox that is not four numbers" in maker.refused()


# Categories


def test_given_categories_define_the_labels(maker: Maker) -> None:
    maker.image(1)
    maker.box(1, [1, 2, 3, 4], 7)
    categories = {2: "cat", 7: "train"}
    truth = maker.read(categories=categories).truth
    assert truth.labels.tolist() == [1]
    assert truth.category_ids == (2, 7) and truth.class_names == ("cat", "train")

    del maker.content["categories"]
    assert maker.read(categories=categories).truth.labels.tolist() == [1]
    maker.box(1, [1, 2, 3, 4], 90, id=13)
    assert "annotation id 13 has category id 90" in maker.refused(categories=categories)


def test_a_category_the_file_does_not_list_is_refused(maker: Maker) -> None:
    maker.image(1)
    maker.box(1, [1, 2, 3, 4], 8, id=13)
    assert "annotation id 13 has category id 8" in maker.refused()


def test_names_that_changed_ids_since_training_are_refused(maker: Maker) -> None:
    maker.image(1)
    message = maker.refused(categories={7: "toothbrush", 90: "train"})
    assert "category id 90 is 'toothbrush' here, but 'train' in training" in message
    assert "'train' here, but 'cat' in training" in maker.refused(categories={7: "cat"})
    # Another spelling is not a mix-up.
    given = {7: "Train", 90: "tooth_brush"}
    assert maker.read(categories=given).truth.class_names == ("Train", "tooth_brush")


# Files that are not COCO


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("images", [], "lists no images"),
        ("categories", [], "has no categories"),
        ("images", None, "no list 'images'"),
        ("annotations", {}, "no list 'annotations'"),
        ("categories", "x", "no list 'categories'"),
        ("images", [3], r"images[0] is a int"),
        ("images", [{"id": 1}], "images[0] has no 'file_name'"),
        ("images", [{"file_name": "1.png"}], "images[0] has no 'id'"),
        ("images", [{"file_name": 1, "id": 1}], "images[0] has file_name 1, not a text"),
        (
            "images",
            [{"file_name": "1.png", "id": "IMG_1"}],
            "images[0] has id 'IMG_1', not a whole",
        ),
        ("images", [{"file_name": "1.png", "id": True}], "images[0] has id True, not a whole"),
        ("images", [{"file_name": "\ud800.png", "id": 1}], "no valid Unicode"),
        ("categories", [{"id": 1, "name": "\udfff"}], "no valid Unicode"),
        ("images", [{"file_name": "1.png", "id": 2**70}], "beyond 64 bit"),
        ("images", [{"file_name": "1.png", "id": 1.5}], "not a whole number"),
        ("images", [{"file_name": "1.png", "id": 1e300}], "not a whole number"),
        ("images", [{"file_name": "1.png", "id": 2.0**53}], "not a whole number"),
        ("images", [{"file_name": "1.png", "id": "9" * 20}], "beyond 64 bit"),
        ("annotations", [None], "annotations[0] is a NoneType"),
        ("annotations", [{"image_id": 1, "bbox": [1] * 4}], "has no 'category_id'"),
        ("annotations", [{"category_id": 7, "bbox": [1] * 4}], "has no 'image_id'"),
        ("categories", [{"id": 1}], "categories[0] has no 'name'"),
        ("categories", [{"id": 1, "name": None}], "categories[0] has name None"),
        ("categories", [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}], "id 1 is listed twice"),
    ],
)
def test_what_is_not_coco_is_refused(maker: Maker, key: str, value: Any, expected: str) -> None:
    maker.image(1)
    maker.content[key] = value
    assert expected in maker.refused()
    if value is None:
        del maker.content[key]
        assert expected in maker.refused()


@pytest.mark.parametrize("field", ["image_id", "category_id", "iscrowd", "area"])
@pytest.mark.parametrize("value", ["one", "1_0", "\u0661", [1], {"a": 1}])
def test_annotation_fields_of_wrong_type_are_refused(maker: Maker, field: str, value: Any) -> None:
    maker.image(1)
    maker.box(1, [1, 2, 3, 4], id=1)
    maker.content["annotations"][0][field] = value
    assert f"annotations[0] has {field}" in maker.refused()


@pytest.mark.parametrize("size", ["wide", [1], -5, 10.5, float("nan"), float("inf"), True])
def test_image_sizes_of_wrong_type_are_refused(maker: Maker, size: Any) -> None:
    maker.image(1, width=size)
    assert "images[0] has width" in maker.refused()


def test_an_image_id_of_two_files_is_refused(maker: Maker) -> None:
    for number, name in ((4, "a.png"), (9, "b.png"), (4, "c.png")):
        maker.image(number, name)
    assert "image id 4 is listed twice, as 'a.png' and as 'c.png'" in maker.refused()


def test_an_image_listed_again_is_taken_once_and_said(maker: Maker) -> None:
    for number, name in ((4, "a.png"), (9, "b.png"), (4, "a.png")):
        maker.image(number, name)
    maker.box(4, [1, 2, 3, 4])
    split = maker.read()
    assert split.truth.image_ids.tolist() == [4, 9] and len(split.truth.labels) == 1
    assert split.remarks == ("1 images are listed twice; they are taken once",)


def test_a_file_of_two_image_ids_is_kept_and_said(maker: Maker) -> None:
    maker.image(1, "a.png")
    maker.image(2, "./a.png")
    split = maker.read()
    assert len(split) == 2
    assert split.remarks == ("1 images are files that another image id has too; all are kept",)


def test_a_category_listed_again_is_the_same_one(maker: Maker) -> None:
    maker.image(1)
    maker.content["categories"].append({"id": 7, "name": "train"})
    assert maker.read().truth.class_names == ("zero", "train", "toothbrush")


# What tools write otherwise, and what can mean one thing only


def test_digits_in_quotes_are_numbers(maker: Maker) -> None:
    maker.image(1, width=str(WIDTH), height=f"{HEIGHT}.0")
    maker.content["images"][0]["id"] = "0001"
    maker.content["categories"][1]["id"] = " 7 "
    maker.box("1", ["1", "2.5", "3e0", "+4."], "7", area=" 10.5", iscrowd="0")  # type: ignore[arg-type]
    truth = maker.read().truth
    assert truth.image_ids.tolist() == [1] and truth.category_ids == (0, 7, 90)
    assert truth.sizes_hw.tolist() == [[HEIGHT, WIDTH]] and truth.labels.tolist() == [1]
    assert truth.boxes_xyxy.tolist() == [[1, 2.5, 4, 6.5]] and truth.areas_px.tolist() == [10.5]


@pytest.mark.parametrize(
    ("value", "crowd"),
    [(True, True), (False, False), ("True", True), ("no", False), ("1", True), (1.0, True)],
)
def test_a_crowd_may_be_said_in_words(maker: Maker, value: Any, crowd: bool) -> None:
    maker.image(1)
    maker.box(1, [1, 2, 3, 4], iscrowd=value)
    assert maker.read().truth.ignored.tolist() == [crowd]


@pytest.mark.parametrize("value", [2, -1, 2**63, 0.5, "maybe", "2"])
def test_a_crowd_that_is_neither_yes_nor_no_is_refused(maker: Maker, value: Any) -> None:
    maker.image(1)
    maker.box(1, [1, 2, 3, 4], iscrowd=value)
    assert "annotations[0] has iscrowd" in maker.refused()


def test_a_class_may_be_named_by_a_digit(maker: Maker) -> None:
    maker.image(1)
    maker.content["categories"] = [{"id": 3, "name": 8}]
    assert maker.read().truth.class_names == ("8",)


def test_backslashes_separate_folders_where_no_file_is_named_so(maker: Maker) -> None:
    maker.image(1, "sub/a.png")
    maker.image(2, "sub\\b.png")
    maker.content["images"][0]["file_name"] = "sub\\a.png"
    assert maker.read().truth.file_names.tolist() == ["sub/a.png", "sub\\b.png"]
    maker.content["images"][0]["file_name"] = "..\\a.png"
    assert "leads outside" in maker.refused()


@pytest.mark.parametrize("absent", [{}, {"bbox": None}, {"bbox": []}])
def test_an_entry_without_a_box_is_dropped_and_counted_or_refused(
    maker: Maker, absent: dict[str, Any]
) -> None:
    maker.image(1)
    maker.box(1, [1, 2, 3, 4], 0, id=7)
    maker.content["annotations"].append({"image_id": 1, "category_id": 90, "id": 8, **absent})
    maker.box(1, [WIDTH, 2, 3, 4], 7, id=9)
    split = maker.read()
    assert dict(split.dropped) == {NO_BOX: 1, OUTSIDE: 1} and split.truth.labels.tolist() == [0]
    assert "annotation id 8 (annotations[1]) has no bbox" in maker.refused(strict=True)
    del maker.content["annotations"][1]
    assert "annotation id 9 (annotations[1])" in maker.refused(strict=True)


def test_without_the_list_of_annotations_a_split_is_not_annotated(maker: Maker) -> None:
    maker.image(1)
    assert maker.read().annotated
    del maker.content["annotations"]
    split = maker.read()
    assert not split.annotated and len(split) == 1 and len(split.truth.labels) == 0


# Areas that converters invent


def areas_of(maker: Maker, *areas: Any) -> tuple[list[float], tuple[str, ...]]:
    maker.image(1)
    for number, area in enumerate(areas):
        maker.box(1, [1, 2, 4 + number, 5], area=area)
    split = maker.read()
    return split.truth.areas_px.tolist(), split.remarks


@pytest.mark.parametrize("area", [0, -5, 1e308, float("inf"), 43, WIDTH * HEIGHT])
def test_an_area_that_cannot_be_is_that_of_the_box_and_said(maker: Maker, area: float) -> None:
    areas, remarks = areas_of(maker, area, 7)
    assert areas == [20, 7]
    (remark,) = remarks
    assert remark.startswith("1 of 2 areas cannot be those of objects in their boxes")


def test_an_area_of_an_outline_in_whole_pixels_stays(maker: Maker) -> None:
    assert areas_of(maker, 6 * 7, 0.5, None) == ([42, 0.5, 30], ())


def test_one_area_for_boxes_of_all_sizes_is_invented(maker: Maker) -> None:
    areas, remarks = areas_of(maker, *[3] * 10)
    assert areas == [5 * (4 + number) for number in range(10)]
    assert "10 of 10 areas" in remarks[0]


def test_areas_as_parts_of_the_image_are_invented(maker: Maker) -> None:
    maker.image(1)
    maker.box(1, [0, 0, 50, 30], area=0.25)
    assert maker.read().truth.areas_px.tolist() == [1500]


# Boxes in odd places


def test_boxes_that_stick_out_are_counted(maker: Maker) -> None:
    maker.image(1)
    for bbox in ([-1, 0, 9, 9], [-2.5, 0, 9, 9], [95, 0, 6, 9], [95, 0, 9, 9], [1, 1, 3, 3]):
        maker.box(1, bbox)
    (remark,) = maker.read().remarks
    assert remark.startswith("2 of 5 boxes stick out of their image")


def test_corners_in_the_place_of_sizes_are_said(maker: Maker) -> None:
    maker.image(1)
    maker.box(1, [10, 8, 40, 32])
    maker.box(1, [50, 20, 82, 50])
    assert any("x1, y1, x2, y2" in remark for remark in maker.read().remarks)
    maker.box(1, [50, 20, 8, 5])  # no corners
    assert not any("x1, y1, x2, y2" in remark for remark in maker.read().remarks)


def test_parts_of_the_image_in_the_place_of_pixels_are_said(maker: Maker) -> None:
    maker.image(1)
    maker.box(1, [0.1, 0.2, 0.3, 0.4])
    (remark,) = maker.read().remarks
    assert "boxes have to be in pixels" in remark


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"{", b"[]", b"3", b'"x"', b"null", b"\xff\xfe\x00", b"\x89PNG\r\n\x1a\n"),
        *(b'{"images": [], "annotations": []', b"[" * 200_000, b"1" * 10_000),
    ],
)
def test_what_is_no_json_object_is_refused(maker: Maker, content: bytes) -> None:
    maker.file.write_bytes(content)
    with pytest.raises(UserError, match=r"instances\.json is not") as caught:
        read_coco(maker.file, maker.images)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_any_unicode_is_read(maker: Maker, encoding: str) -> None:
    maker.image(1, "Ü.png")
    maker.box(1, [1, 2, 3, 4])
    maker.file.write_bytes(json.dumps(maker.content, ensure_ascii=False).encode(encoding))
    assert read_coco(maker.file, maker.images).truth.file_names.tolist() == ["Ü.png"]


def test_bytes_that_are_no_unicode_matter_only_where_they_are_used(maker: Maker) -> None:
    maker.image(1)
    maker.content["info"] = {"contributor": "Müller"}
    for spoilt in ([], [{"id": 1.0, "name": "one"}]):  # for the quick reader, and the plain one
        maker.content["categories"] = spoilt or [{"id": 1, "name": "one"}]
        maker.file.write_bytes(json.dumps(maker.content, ensure_ascii=False).encode("latin-1"))
        assert len(read_coco(maker.file, maker.images)) == 1
    maker.content["categories"][0]["name"] = "Möwe"
    maker.file.write_bytes(json.dumps(maker.content, ensure_ascii=False).encode("latin-1"))
    with pytest.raises(UserError, match=r"categories\[0\] has name .* no valid Unicode"):
        read_coco(maker.file, maker.images)


def test_a_number_of_thousands_of_digits_is_none_that_counts(maker: Maker) -> None:
    maker.image(1)
    maker.box(1, [1, 2, 3, 4])
    text = json.dumps(maker.content)
    for place, outcome in (('"area": 1', "area"), ('"unused": 1', "")):
        spoilt = text.replace('"category_id"', f'{place}{"0" * 5000}, "category_id"')
        maker.file.write_text(spoilt)
        split = read_coco(maker.file, maker.images)
        assert split.truth.areas_px.tolist() == [12] and bool(split.remarks) == bool(outcome)
    maker.file.write_text(text.replace('"image_id": 1', f'"image_id": 1{"0" * 5000}'))
    with pytest.raises(UserError, match=r"image_id .* not a whole number"):
        read_coco(maker.file, maker.images)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)
ENTRY = st.fixed_dictionaries(
    {},
    optional={
        key: JSON | st.just(good)
        for key, good in {
            "id": 1,
            "file_name": "1.png",
            "name": "x",
            "image_id": 1,
            "category_id": 1,
            "bbox": [1, 2, 3, 4],
            "width": 100,
            "height": 60,
            "iscrowd": 0,
            "area": 3,
        }.items()
    },
)
PART = st.lists(ENTRY, max_size=3) | JSON


@settings(max_examples=150, deadline=None)
@given(images=PART, annotations=PART, categories=PART)
def test_any_json_gives_a_split_or_a_user_error(
    tmp_path_factory: pytest.TempPathFactory, images: Any, annotations: Any, categories: Any
) -> None:
    maker = Maker(tmp_path_factory.mktemp("any"))
    maker.image(1)
    maker.content = {"images": images, "annotations": annotations, "categories": categories}
    try:
        split = maker.read()
    except UserError as error:
        assert "\n" not in str(error)
    else:
        assert np.isfinite(split.truth.boxes_xyxy).all()


# Files on disk


def test_missing_places_are_refused(maker: Maker, tmp_path: Path) -> None:
    maker.image(1)
    maker.read()
    with pytest.raises(UserError, match=r"gone\.json does not exist"):
        read_coco(tmp_path / "gone.json", maker.images)
    with pytest.raises(UserError, match=r"annotation file .* cannot be read: Is a directory"):
        read_coco(tmp_path, maker.images)
    for folder in (tmp_path / "gone", maker.file):
        with pytest.raises(UserError, match=f"{folder.name} does not exist or is not a folder"):
            read_coco(maker.file, folder)


@pytest.mark.parametrize(
    "name", ["gone.png", "gone/1.png", "1.png/2.png", "sub", "", ".", "\0", "1.png\0"]
)
def test_missing_images_are_counted_and_the_first_is_named(maker: Maker, name: str) -> None:
    for number in (1, 2, 3):
        maker.image(number)
    (maker.images / "sub").mkdir()
    maker.content["images"][1]["file_name"] = name
    maker.content["images"][2]["file_name"] = "also gone.png"
    message = maker.refused()
    assert "2 of 3 image files" in message and repr(name) in message


@pytest.mark.parametrize("name", ["../../x.png", "../out.png", "sub/../../out.png", "/etc/passwd"])
def test_a_name_that_leads_outside_is_refused(maker: Maker, tmp_path: Path, name: str) -> None:
    maker.image(1)
    (maker.images / "sub").mkdir()
    Image.new("L", (4, 4)).save(tmp_path / "out.png")
    maker.content["images"][0]["file_name"] = name
    message = maker.refused()
    assert "leads outside the image folder" in message and repr(name) in message


@pytest.mark.parametrize("name", ["link.png", "folder/out.png"])
def test_a_link_that_leads_outside_is_refused(maker: Maker, tmp_path: Path, name: str) -> None:
    maker.image(1)
    outside = tmp_path / "outside"
    outside.mkdir()
    Image.new("L", (4, 4)).save(outside / "out.png")
    (maker.images / "link.png").symlink_to(outside / "out.png")
    (maker.images / "folder").symlink_to(outside)
    maker.content["images"][0]["file_name"] = name
    assert "leads outside the image folder" in maker.refused()


@pytest.mark.parametrize("name", ["loop", "loop/1.png", "a" * 5000, "a/" * 3000, "\n", "sub"])
def test_what_is_no_file_is_missing(maker: Maker, name: str) -> None:
    maker.image(1)
    (maker.images / "sub").mkdir()
    (maker.images / "loop").symlink_to("loop")
    maker.content["images"][0]["file_name"] = name
    message = maker.refused()
    assert "1 of 1 image files" in message
    assert len(message) < 600 and message.isprintable()


@pytest.mark.parametrize("name", ["./1.png", "sub/../1.png", "link.png", "sub//2.png", "absolute"])
def test_roundabout_names_inside_are_found(maker: Maker, name: str) -> None:
    maker.image(1)
    maker.image(2, "sub/2.png")
    (maker.images / "link.png").symlink_to("1.png")
    if name == "absolute":
        name = str(maker.images / "1.png")
    maker.content["images"][0]["file_name"] = name
    path = maker.read().path(0)
    assert path.is_file() and maker.images.resolve() in path.parents


def test_the_image_folder_may_be_a_link(maker: Maker, tmp_path: Path) -> None:
    maker.image(1)
    (tmp_path / "link").symlink_to(maker.images)
    maker.images = tmp_path / "link"
    assert maker.read().path(0).is_file()


@pytest.mark.parametrize("on_disk", ["NFC", "NFD"])
@pytest.mark.parametrize("in_json", ["NFC", "NFD"])
def test_unicode_names_load_in_either_form(maker: Maker, on_disk: Any, in_json: Any) -> None:
    name = "Übung/Ångström é.png"
    maker.image(1, unicodedata.normalize(on_disk, name))
    maker.content["images"][0]["file_name"] = unicodedata.normalize(in_json, name)
    split = maker.read()
    assert split.path(0).is_file()
    assert split.image(0).shape == (HEIGHT, WIDTH, 3)


def test_two_names_that_differ_in_form_alone_stay_apart(maker: Maker) -> None:
    forms = [unicodedata.normalize(form, "é.png") for form in ("NFC", "NFD")]
    for number, name in enumerate(forms):
        maker.image(number, name)
    if len(os.listdir(maker.images)) == 1:
        pytest.skip("this file system normalises names")
    assert maker.read().truth.file_names.tolist() == forms


# Images


@pytest.mark.parametrize("orientation", [6, 8])
def test_a_size_that_disagrees_with_the_file_is_reported(maker: Maker, orientation: int) -> None:
    maker.image(1, width=HEIGHT, height=WIDTH)
    maker.image(2, width=WIDTH + 1)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("L", (WIDTH, HEIGHT)).save(maker.images / "1.png", exif=exif)
    split = maker.read()
    with pytest.raises(UserError, match=r"1\.png is 100 x 60 .* annotated as 60 x 100.*EXIF"):
        split.image(0)
    with pytest.raises(UserError, match="EXIF"):
        split.check()
    Image.new("L", (WIDTH, HEIGHT)).save(maker.images / "1.png")
    with pytest.raises(UserError, match="annotation has width and height exchanged; correct it"):
        split.image(0)
    with pytest.raises(UserError, match=r"2\.png is 100 x 60 .* annotated as 101 x 60"):
        split.image(1)


def test_sizes_are_compared_before_training_over_the_whole_split(maker: Maker) -> None:
    for number in range(40):
        maker.image(number, width=WIDTH + (number == 39))
    split = maker.read()
    with pytest.raises(UserError, match=r"39\.png is 100 x 60 .* annotated as 101 x 60"):
        split.check()


def test_an_image_annotated_as_too_large_is_refused_before_training(maker: Maker) -> None:
    maker.image(1)
    maker.image(2, width=20_001, height=5_000)
    split = maker.read()
    with pytest.raises(UserError, match=r"1 of 2 images .* data\.max_pixels=100000000.*2\.png"):
        split.check()
    with pytest.raises(UserError, match=r"2\.png is 100 x 60"):
        split.check(max_pixels=200_000_000)


# What loader workers get


def test_a_split_holds_flat_arrays_only(maker: Maker) -> None:
    maker.image(1)
    for _ in range(1000):
        maker.box(1, [1, 2, 3, 4])
    split = maker.read()
    for name in ("image_ids", "file_names", "sizes_hw", "first_box", "boxes_xyxy", "labels"):
        assert getattr(split.truth, name).dtype != object
    assert split.truth.ignored.dtype == bool and split.truth.areas_px.dtype == np.float64
    sent = pickle.dumps(split)
    assert len(sent) < 1000 * (4 * 8 + 8 + 8 + 1) + 5000
    assert pickle.loads(sent).path(0) == split.path(0)


def test_reading_loads_neither_detector_nor_frameworks() -> None:
    script = (
        "import sys, fcos_lightning.data.readers.coco, fcos_lightning.data.readers.voc\n"
        "print([name for name in ('fcos_lightning.detector', 'lightning', 'hydra', 'omegaconf')"
        " if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


# Real files


@pytest.mark.parametrize(("part", "boxes"), [("train2017", 929), ("val2017", 898)])
def test_coco256_equals_pycocotools(shared: Path, part: str, boxes: int) -> None:
    from pycocotools.coco import COCO

    root = shared / "data" / "coco256"
    annotation_file = root / "annotations" / f"instances_{part}.json"
    split = read_coco(annotation_file, root / part, strict=True)
    truth = split.truth

    assert len(split) == 128 and len(truth.labels) == boxes and len(truth.class_names) == 80
    assert truth.category_ids[-1] == 90 and dict(split.dropped) == {} and split.remarks == ()
    theirs = COCO(str(annotation_file))
    for image, image_id in enumerate(truth.image_ids.tolist()):
        rows = truth.rows(image)
        expected = theirs.imgToAnns[image_id]
        xywh = truth.boxes_xyxy[rows].copy()
        xywh[:, 2:] -= xywh[:, :2]
        np.testing.assert_allclose(
            xywh, np.reshape([a["bbox"] for a in expected], (-1, 4)), atol=1e-12
        )
        np.testing.assert_array_equal(truth.areas_px[rows], [a["area"] for a in expected])
        ids = [truth.category_ids[label] for label in truth.labels[rows]]
        assert ids == [a["category_id"] for a in expected]
    empty = np.diff(truth.first_box) == 0
    assert empty.sum() == (2 if part == "train2017" else 0)
    for image in range(0, 128, 8):
        assert split.image(image).shape == (*truth.sizes_hw[image], 3)
