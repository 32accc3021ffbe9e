from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from fcos_lightning.arguments import check_arguments, check_names, described, fits
from fcos_lightning.errors import UserError


class Thing: ...


@pytest.mark.parametrize(
    ("hint", "good", "bad"),
    [
        (int, [0, -5, np.int64(3)], [True, 1.0, "1", None, [1]]),
        (float, [0, 1.5, float("inf"), np.float32(1)], [False, "1", None, 10**30]),
        (bool, [True, False], [0, 1, "true", None]),
        (str, ["", "a"], [1, None, ["a"], True]),
        (int | None, [None, 3], ["x", 1.5]),
        (str | Path, ["a", Path("a")], [1, None]),
        (Sequence[int], [[], [1, 2], (3,)], ["12", [1.5], ["a"], 5, None, {"a": 1}]),
        (tuple[float, float], [[0, 1], (0.5, 2)], [[1], [1, 2, 3], "ab"]),
        (list[tuple[int, int]], [[[1, 2]]], [[[1]], [1]]),
        (Mapping[str, int], [{}, {"a": 1}], [[], {"a": "b"}, {1: 1}]),
        (Callable[..., int], [len, Thing], ["len", 5, None]),
        (Literal["a", "b"], ["a", "other"], [1, None, ["a"]]),
        (Thing, [Thing(), object()], ["x", 1, [], {}, None]),
        (Any, [None, 1, "x", Thing()], []),
    ],
)
def test_values_fit_the_annotation_or_not(hint: Any, good: list[Any], bad: list[Any]) -> None:
    assert [value for value in good if not fits(value, hint)] == []
    assert [value for value in bad if fits(value, hint)] == []


class Base:
    def __init__(self, size: int = 1, *, name: str = "") -> None: ...


class Derived(Base):
    def __init__(self, rate: float, **options: object) -> None: ...


def test_what_is_handed_on_to_a_base_class_is_checked_there() -> None:
    check_arguments(Derived, {"rate": 1, "size": 3, "name": "a"}, "x")
    with pytest.raises(UserError, match=r"x\.size=2\.5: give a whole number, not a number with"):
        check_arguments(Derived, {"rate": 1, "size": 2.5}, "x")
    with pytest.raises(UserError, match=r"x\.size=a: give a whole number, not text"):
        check_arguments(Derived, {"rate": 1, "size": "a"}, "x")


def test_names_that_are_not_known_and_values_without_annotation_are_left_to_the_call() -> None:
    def function(a, b: int = 0) -> None: ...  # type: ignore[no-untyped-def]  # noqa: ANN001

    check_arguments(function, {"a": [{}], "c": 5}, "x")


def test_a_long_value_is_cut_in_the_message() -> None:
    with pytest.raises(UserError) as caught:
        check_arguments(Base, {"size": "x" * 200_000}, "part")
    assert len(str(caught.value)) < 400


def test_what_may_be_given_is_said_in_words() -> None:
    assert described(int | None) == "a whole number or null"
    assert described(Sequence[float]) == "a list of numbers"
    assert described(Literal["a", "b"]) == "a or b"
    assert described(Thing) == "a _target_ that makes a Thing"


class _Base:
    def __init__(self, first: int = 0, *, second: int = 0) -> None: ...


class _Hands(_Base):
    def __init__(self, own: int, first: int = 0, **more: int) -> None: ...


def test_arguments_that_there_are_not_are_named_with_the_nearest() -> None:
    check_names(_Hands, ("own", "first", "second"), "x", bases_too=True)
    with pytest.raises(UserError, match=r"^x\.secnd: there is no such setting; is x\.second meant"):
        check_names(_Hands, ("secnd",), "x", bases_too=True)
    with pytest.raises(UserError, match=r"^x\.zzz: there is no such setting; there are first, "):
        check_names(_Base, ("zzz",), "x", bases_too=False)
    with pytest.raises(UserError, match=r"there are own, first, second$"):  # each once
        check_names(_Hands, ("zzz",), "x", bases_too=True)
    check_names(_Hands, ("anything",), "x", bases_too=False)  # who knows where that goes
    check_names(dict, ("anything",), "x", bases_too=True)  # of no signature
