"""Numbers, flags and texts as tools write them; everything else is none."""

import math

import pytest

from fcos_lightning.data.readers.values import flag, is_text, number, whole


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *((1, 1), (1.5, 1.5), ("1", 1), (" -2.5 ", -2.5), ("+.5e1", 5), ("3.", 3), ("007", 7)),
        ("1e400", math.inf),
        *(("-Infinity", -math.inf), ("inf", math.inf)),
    ],
)
def test_numbers_are_read_in_quotes_or_without(value: object, expected: float) -> None:
    assert number(value) == expected


def test_integers_beyond_any_float_are_infinite() -> None:
    assert number(10**400) == number("9" * 5000) == math.inf and number(-(10**400)) == -math.inf


@pytest.mark.parametrize("value", ["nan", "NaN", " -nan", float("nan")])
def test_not_a_number_is_one_of_the_numbers(value: object) -> None:
    assert math.isnan(number(value) or 0)


@pytest.mark.parametrize(
    "value",
    [None, True, "", "one", "1_0", "0x10", "1,5", "1 2", "\u0661", "\uff11", "--1", [1], {}, b"1"],
)
def test_what_may_mean_several_things_is_no_number(value: object) -> None:
    assert number(value) is None and whole(value) is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *((1, 1), (1.0, 1), ("01", 1), (" -7 ", -7), ("1.0", 1), ("2e2", 200), (2**70, 2**70)),
        *((str(2**62), 2**62), (2**53 + 1, 2**53 + 1), (-0.0, 0)),
    ],
)
def test_whole_numbers_are_exact(value: object, expected: int) -> None:
    found = whole(value)
    assert type(found) is int and found == expected


@pytest.mark.parametrize(
    "value", [1.5, "1.5", 2.0**53, "1e300", float("inf"), float("nan"), "9" * 99]
)
def test_a_number_that_is_not_exactly_whole_is_none(value: object) -> None:
    assert whole(value) is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *((None, False), (0, False), ("", False), (" No ", False), ("Unspecified", False)),
        *((1, True), (1.0, True), ("TRUE", True), ("yes", True), (True, True), ("1.0", True)),
        *((2, None), (-1, None), (0.5, None), ("maybe", None), ("2", None), ([], None)),
    ],
)
def test_flags_are_yes_or_no_or_neither(value: object, expected: bool | None) -> None:
    assert flag(value) is expected


def test_half_a_character_is_no_text() -> None:
    assert is_text("é\U0001f600\0") and not is_text("a\ud800")
