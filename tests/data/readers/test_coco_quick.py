"""Columns by typed decoding are those of the plain reader, however a file is laid out."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fcos_lightning.data.files import Folder, OutsideFolder
from fcos_lightning.data.readers import coco_quick
from fcos_lightning.data.readers.coco import read_coco
from fcos_lightning.data.readers.coco_checked import PlainColumns
from fcos_lightning.data.readers.coco_quick import Columns, read_quick

COLUMNS = [name for name in Columns.__dataclass_fields__ if name != "file"]

INTEGER = st.integers(-(2**63), 2**63 - 1)
NUMBER = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
# Texts that look like the seams between entries, or like the list's end.
TEXT = st.text(max_size=4) | st.sampled_from(
    ["}, {", "},{", "}]", '"}, {"', "\\", '"annotations":[']
)
OTHER = st.recursive(
    st.none() | st.booleans() | NUMBER | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
ANNOTATION = st.fixed_dictionaries(
    {"image_id": INTEGER, "category_id": INTEGER, "bbox": st.lists(NUMBER, min_size=4, max_size=4)},
    optional={
        "id": OTHER,
        "area": st.none() | NUMBER,
        "iscrowd": st.none() | st.integers(0, 1),
        "segmentation": OTHER,
        "attributes": OTHER,
    },
)
IMAGE = st.fixed_dictionaries(
    {"id": INTEGER, "file_name": TEXT},
    optional={"height": st.none() | st.integers(0, 2**31 - 1), "width": st.integers(0, 900)},
)
CATEGORY = st.fixed_dictionaries({"id": INTEGER, "name": TEXT}, optional={"skeleton": OTHER})


def content(**changes: Any) -> dict[str, Any]:
    """Two images with three boxes, one field after the other as in COCO's own files."""
    annotations = [
        {"segmentation": [[1, 2.5]], "image_id": image, "bbox": [1, 2, 3.5, 4], "category_id": 7}
        for image in (1, 2, 1)
    ]
    images = [{"id": i, "file_name": f"{i}.png", "height": 60, "width": 100} for i in (1, 2)]
    categories = [{"id": 7, "name": "train"}]
    plain = {"images": images, "annotations": annotations, "categories": categories}
    return {**plain, **changes}


def assert_as_plain(file: Path) -> None:
    quick, plain = read_quick(file), PlainColumns(file)
    assert quick is not None
    for name in COLUMNS:
        one, other = getattr(quick, name), getattr(plain, name)
        if isinstance(one, np.ndarray):
            assert one.dtype == other.dtype and one.shape == other.shape, name
        np.testing.assert_array_equal(one, other, err_msg=name)
    count = len(quick.annotated)
    assert [quick.identity(row) for row in range(count)] == list(map(plain.identity, range(count)))


def test_messages_read_a_file_once(tmp_path: Path) -> None:
    """The doctor names thousands of annotations, and reading COCO's takes half a minute."""
    file = tmp_path / "boxes.json"
    whole = content()
    for number, annotation in enumerate(whole["annotations"]):
        annotation["id"] = f"no {number}"
    file.write_text(json.dumps(whole))
    columns = read_quick(file)
    assert columns is not None and columns.identity(1) == "'no 1'"
    file.unlink()
    assert columns.identity(2) == "'no 2'"


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    annotations=st.lists(ANNOTATION, max_size=5),
    images=st.lists(IMAGE, max_size=3),
    categories=st.lists(CATEGORY, max_size=3) | st.none(),
    indent=st.sampled_from([None, 0, 3]),
    last=st.booleans(),
    piece=st.sampled_from([0, 40, 400]),
)
def test_columns_equal_the_plain_readers_or_there_are_none(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    annotations: Any,
    images: Any,
    categories: Any,
    indent: int | None,
    last: bool,
    piece: int,
) -> None:
    monkeypatch.setattr(coco_quick, "PIECE_BYTES", piece)
    parts = {"images": images, "annotations": annotations}
    if last:
        parts = dict(reversed(parts.items()))
    if categories is not None:
        parts["categories"] = categories
    file = tmp_path / "boxes.json"
    file.write_text(json.dumps(parts, indent=indent, ensure_ascii=False, allow_nan=False))
    # A list of objects within an entry, and a text, may look like a seam: then there are none.
    if read_quick(file) is not None:
        assert_as_plain(file)


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": "), (" ,\n\t", " :\r\n ")])
@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("number", [0, 1, 3])
def test_any_layout_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, separators: Any, order: int, number: int
) -> None:
    monkeypatch.setattr(coco_quick, "PIECE_BYTES", 1)
    parts = content()
    parts["annotations"] = parts["annotations"][:number]
    file = tmp_path / "boxes.json"
    file.write_text(json.dumps(dict(list(parts.items())[::order]), separators=separators))
    assert_as_plain(file)


def test_objects_within_an_entry_need_no_plain_reader(tmp_path: Path) -> None:
    parts = content()
    for annotation in parts["annotations"]:
        annotation["segmentation"] = {"counts": [1, 2], "size": [3, 4]}
        annotation["attributes"] = {"occluded": False, "track": {"id": 3}}
    file = tmp_path / "boxes.json"
    file.write_text(json.dumps(parts))
    assert_as_plain(file)


@pytest.mark.parametrize(
    "text",
    [
        # The first list of that name is not the one that counts.
        json.dumps({"info": {"annotations": [{"bbox": [9, 9, 9, 9]}]}, **content()}),
        json.dumps({"info": {"annotations": content()["annotations"][:1]}, **content()}),
        json.dumps({"info": content(), **content(annotations=[])}),
        '{"annotations": [{"image_id": 1, "category_id": 7, "bbox": [1, 2, 3, 4]}],'
        + json.dumps(content())[1:],
    ],
)
def test_a_list_of_the_same_name_elsewhere_is_not_taken_for_the_annotations(
    tmp_path: Path, text: str
) -> None:
    file = tmp_path / "boxes.json"
    file.write_text(text)
    assert read_quick(file) is None
    for name in ("1.png", "2.png"):
        (tmp_path / name).touch()
    expected = len(json.loads(text)["annotations"])
    assert len(read_coco(file, tmp_path).truth.labels) == expected


def test_a_file_cannot_forge_the_mark_of_what_was_cut_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "boxes.json"
    parts = content()
    listed = json.dumps(parts.pop("annotations"))
    opening = json.dumps(parts)[:-1] + ', "annotations": '
    number = len(opening) + 1
    file.write_text(f'{opening}{listed}, "annotations": [{number}]}}')
    assert read_quick(file) is None
    # As if it had guessed.
    monkeypatch.setattr(coco_quick.secrets, "randbits", lambda _: number)
    assert read_quick(file) is not None


@pytest.mark.parametrize("sign", ["\x0b", "\x0c", "\x1c", "\u00a0"])
@pytest.mark.parametrize("place", ["}%s,", "},%s{", "}%s]", "]%s}", ":%s[", "[%s{"])
def test_white_space_is_json_s_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, sign: str
) -> None:
    monkeypatch.setattr(coco_quick, "PIECE_BYTES", 1)
    file = tmp_path / "boxes.json"
    text = json.dumps(content(), separators=(",", ":"))
    for count in range(text.count(place.replace("%s", ""))):
        parts = text.split(place.replace("%s", ""))
        left, right = (
            place.replace("%s", "").join(some) for some in (parts[: count + 1], parts[count + 1 :])
        )
        for space, read in ((sign, False), (" \t\r\n", True)):
            file.write_text(left + place.replace("%s", space) + right, encoding="utf-8")
            assert (read_quick(file) is not None) == read


@pytest.mark.parametrize("value", ["9223372036854775808", "-1", "2", "1.0", "true", '"1"'])
def test_a_crowd_other_than_0_and_1_is_left_to_the_plain_reader(tmp_path: Path, value: str) -> None:
    parts = content()
    parts["annotations"][2]["iscrowd"] = 5
    file = tmp_path / "boxes.json"
    file.write_text(json.dumps(parts).replace('"iscrowd": 5', f'"iscrowd": {value}'))
    assert read_quick(file) is None


def test_bytes_that_are_no_unicode_pass_where_they_are_not_used(tmp_path: Path) -> None:
    file = tmp_path / "boxes.json"
    file.write_bytes(json.dumps(content(info="x")).encode().replace(b'"x"', b'"\xff\xed\xa0\x80"'))
    assert_as_plain(file)


def test_what_is_cut_short_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coco_quick, "PIECE_BYTES", 1)
    whole = json.dumps(content()).encode()
    file = tmp_path / "boxes.json"
    for length in range(len(whole)):
        file.write_bytes(whole[:length])
        assert read_quick(file) is None
    for place in [place for place, sign in enumerate(whole) if sign in b"[]{},:"]:
        file.write_bytes(whole[:place] + whole[place + 1 :])
        assert read_quick(file) is None


def test_reading_leaves_the_file_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coco_quick, "PIECE_BYTES", 1)
    file = tmp_path / "boxes.json"
    file.write_text(json.dumps(content()))
    file.chmod(0o400)
    before = file.read_bytes(), file.stat().st_mtime_ns
    assert read_quick(file) is not None
    assert (file.read_bytes(), file.stat().st_mtime_ns) == before


@pytest.mark.parametrize("start", ["", "sub/", "sub/deeper/"])
def test_names_of_one_folder_are_found_alike(tmp_path: Path, start: str) -> None:
    (tmp_path / start).mkdir(parents=True, exist_ok=True)
    for name in "abc":
        (tmp_path / start / name).touch()
    folder = Folder(tmp_path)
    names = [start + name for name in "abca"]
    assert folder.find_all(names, tmp_path) == names
    for name in ("d", "/a", "./b", "//c", "a/"):
        assert looked_up(folder, start + name) == looked_up(Folder(tmp_path), start + name)


def looked_up(folder: Folder, name: str) -> str | None:
    try:
        return folder.find(name)
    except OutsideFolder:
        return "outside"
