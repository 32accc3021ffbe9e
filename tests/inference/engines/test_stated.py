"""What a converted file says is anybody's text."""

from __future__ import annotations

import json

import pytest
from tests.inference.engines.files import SAID

from fcos_lightning.errors import UserError
from fcos_lightning.inference.engines.stated import Stated


def test_what_is_said_is_taken_over() -> None:
    said = Stated.of(SAID)
    assert said.class_names == ("cat", "dog") and said.category_ids == (7, 90)
    assert said.num_classes == 2 and said.sides == (64, 96) and said.size_hw is None
    assert said.decoder == {"nms_iou": 0.6, "max_detections": 20, "score_threshold": 0.05}
    assert (said.license, said.precision) == ("MIT", "fp32")


def test_what_nobody_said_is_none() -> None:
    size = '{"shorter_side": null, "longer_side": null, "height_width": [64, 96]}'
    nothing = {"class_names": "null", "category_ids": "null", "decoder": "{}", "size": size}
    said = Stated.of({**SAID, **nothing, "license": "not stated"})
    assert said.class_names is None and said.category_ids is None and said.num_classes == 2
    assert said.sides == (None, None) and said.size_hw == (64, 96)
    assert said.license is None and said.decoder == {}


@pytest.mark.parametrize(
    ("key", "text", "message"),
    [
        ("class_names", "[" * 100_000, "its class_names is no JSON"),
        ("class_names", '["cat"', "no JSON"),
        ("class_names", '"cat"', "not a list of names"),
        ("class_names", "[]", "not a list of names"),
        ("class_names", "[1, 2]", "among its class_names is 1"),
        ("class_names", json.dumps(["a" * 501, "b"]), "no name"),
        ("class_names", '["\\ud800", "dog"]', "no name"),
        ("class_names", '["cat"]', "1 class_names, but 2 category_ids"),
        ("class_names", '["' + "a" * 5_000_000 + '"]', "more than any detector's"),
        ("category_ids", "[1.5, 2]", "among its category_ids is 1.5"),
        ("category_ids", "[true, 2]", "among its category_ids is True"),
        ("category_ids", f"[{2**70}, 1]", "no number of 64 bits"),
        ("category_ids", "{}", "not a list of numbers"),
        ("category_ids", "[" + "9" * 5000 + ", 1]", "no JSON|64 bits"),
        ("size", "[]", "its size is .*not a dictionary"),
        ("size", '{"shorter_side": 0, "longer_side": 9}', "size.shorter_side is 0, not 1 to 10000"),
        ("size", '{"shorter_side": 9, "longer_side": 1e9}', "size.longer_side"),
        ("size", '{"shorter_side": NaN}', "size.shorter_side is nan"),
        ("size", '{"height_width": [64]}', "not two numbers"),
        ("size", '{"height_width": [64, null]}', "not two numbers"),
        ("size", '{"height_width": [64, 100000000]}', "size.height_width"),
        ("decoder", '{"nms_iou": 7}', "its decoder.nms_iou is 7"),
        ("decoder", '{"nms_iou": "0.6"}', "its decoder.nms_iou is '0.6'"),
        ("decoder", '{"score_threshold": Infinity}', "its decoder.score_threshold is inf"),
        ("decoder", '{"max_detections": -1}', "its decoder.max_detections"),
    ],
)
def test_what_is_of_another_kind_is_named(key: str, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        Stated.of({**SAID, key: text})
    assert len(str(caught.value)) <= 300 and "\n" not in str(caught.value)


@pytest.mark.parametrize("number", ["0", "-3", "1e3", "null", '"2"', str(10**9)])
def test_without_names_and_numbers_the_classes_are_counted_by_the_description(number: str) -> None:
    silent = {**SAID, "class_names": "null", "category_ids": "null"}
    with pytest.raises(UserError, match=r"num_classes is|how many classes"):
        Stated.of({**silent, "fcos": f'{{"spec": {{"num_classes": {number}}}}}'})
    with pytest.raises(UserError, match=r"fcos\.spec is"):
        Stated.of({**silent, "fcos": "{}"})


def test_texts_for_people_are_short_and_hold_no_control_characters() -> None:
    said = Stated.of({**SAID, "license": "\x1b[2J" + "a" * 10_000, "version": "1\n2"})
    assert said.license is not None and len(said.license) <= 200
    assert "\x1b" not in said.license and "\n" not in said.version


@pytest.mark.parametrize("key", ["fcos", "class_names", "category_ids", "size", "decoder"])
def test_a_file_that_says_too_little_is_none_of_ours(key: str) -> None:
    with pytest.raises(UserError, match="what fcos-convert writes"):
        Stated.of({one: text for one, text in SAID.items() if one != key})
