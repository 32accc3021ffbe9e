"""Sets of images by the names that people give them."""

import pytest

from fcos_lightning.data.finding.usual_names import (
    AUTO,
    Splits,
    find_measured,
    find_splits,
    role_of,
)
from fcos_lightning.errors import UserError


@pytest.mark.parametrize(
    ("name", "role"),
    [
        *[(name, "train") for name in ("train", "Train", "TRAINING", "train2017", "trainval")],
        *[(name, "train") for name in ("instances_train", "trainImages", "obj_train_data")],
        *[(name, "val") for name in ("val", "valid", "Validation", "val2017", "my-val", "dev")],
        *[(name, "test") for name in ("test", "Test_1", "testing", "VOC2007_test")],
        *[(name, None) for name in ("", "all", "default", "latest", "strain", "interval", "42")],
        ("train_val_test", None),
    ],
)
def test_what_a_name_says(name: str, role: str | None) -> None:
    assert role_of(name) == role


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["train", "valid", "test"], ("train", "valid", "test")),
        (["train2017", "val2017"], ("train2017", "val2017", None)),
        (["train", "val", "trainval", "test"], ("train", "val", "test")),
        (["train", "trainval", "test"], ("trainval", None, "test")),
        (["trainval", "test"], ("trainval", None, "test")),
        (["train", "test"], ("train", None, "test")),
        (["default"], ("default", None, None)),
        (["batch 1", "train"], ("train", None, None)),
    ],
)
def test_which_is_which(names: list[str], expected: tuple[str, str | None, str | None]) -> None:
    assert find_splits(names, "D", AUTO, AUTO, AUTO) == Splits(*expected)
    assert find_splits(names[::-1], "D", AUTO, AUTO, AUTO) == Splits(*expected)


def test_what_is_given_is_taken_and_not_given_again() -> None:
    names = ["train", "val", "test"]
    assert find_splits(names, "D", "test", AUTO, AUTO) == Splits("test", "val", None)
    assert find_splits(names, "D", AUTO, None, AUTO) == Splits("train", None, "test")
    assert find_splits(names, "D", AUTO, "test", None) == Splits("train", "test", None)
    assert find_splits(["a", "b"], "D", "a", "b", AUTO) == Splits("a", "b", None)
    # Also where one set is all there is: the reader says then that these are not there.
    assert find_splits(["default"], "D", AUTO, "val", AUTO) == Splits("default", "val", None)
    assert find_splits(["default"], "D", AUTO, None, "test") == Splits("default", None, "test")


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (
            ["train2014", "train2017", "val2017"],
            r"for train: train2014, train2017; choose by data\.train_split",
        ),
        (
            ["train", "val2014", "val2017"],
            r"for val: val2014, val2017; choose by data\.val_split=NAME",
        ),
        (["a", "b"], r"the sets a, b, and no name says .* data\.train_split=NAME"),
        (["val"], r"one set val, and no name says .* data\.train_split=NAME"),
        (["val", "test"], r"data\.train_split=NAME"),
    ],
)
def test_what_cannot_be_told_is_one_line(names: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        find_splits(names, "D", AUTO, AUTO, AUTO)


def test_which_is_measured_on() -> None:
    assert find_measured(["train", "val", "test"], "D") == "val"
    assert find_measured(["train", "test", "odd"], "D") == "test"
    assert find_measured(["anything"], "D") == "anything"
    for names in (["train", "odd"], ["val1", "val2", "test"]):
        with pytest.raises(UserError, match=r"data\.val_split=NAME"):
            find_measured(names, "D")
