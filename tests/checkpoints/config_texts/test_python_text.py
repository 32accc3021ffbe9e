"""Texts of configurations: read as Python assigns, merged as mmcv merges, and never run."""

import time
from typing import Any

import pytest

from fcos_lightning.checkpoints.config_texts import python_text
from fcos_lightning.checkpoints.config_texts.python_text import Unread, read_config
from fcos_lightning.errors import UserError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a = 1", {"a": 1}),
        ("a = 1\na = 2", {"a": 2}),
        ("a: int = -3", {"a": -3}),
        ("a = b = True", {"a": True, "b": True}),
        ("a = dict(x=[1, (2.5, 'y')], z=None)", {"a": {"x": [1, [2.5, "y"]], "z": None}}),
        ("a = {'x': 1, **dict(y=2)}", {"a": {"x": 1, "y": 2}}),
        ("n = dict(m=1)\na = [dict(t='N', **n)]", {"n": {"m": 1}, "a": [{"t": "N", "m": 1}]}),
        ("inf = 1e8\nr = ((-1, 8 * 8), (64, inf))", {"inf": 1e8, "r": [[-1, 64], [64, 1e8]]}),
        ("a = float('inf')", {"a": float("inf")}),
        ("a = [1] + [2]\nb = a[1]", {"a": [1, 2], "b": 2}),
        ("m = dict(h=dict(x=1))\nm['h']['x'] = 2", {"m": {"h": {"x": 2}}}),
        ('{"model": {"on": true, "off": null}}', {"model": {"on": True, "off": None}}),
        ("'a text about it'\na = 1  # and a comment", {"a": 1}),
        ("", {}),
    ],
)
def test_what_a_text_assigns(text: str, expected: dict[str, Any]) -> None:
    assert read_config(text) == expected


BASE = "m = dict(x=1, part=dict(y=2, z=3))\nn = dict(a=1)\nl = [1, 2]\n"


@pytest.mark.parametrize(
    ("over", "expected"),
    [
        ("m = dict(x=5)", {"x": 5, "part": {"y": 2, "z": 3}}),
        ("m = dict(part=dict(z=4))", {"x": 1, "part": {"y": 2, "z": 4}}),
        ("m = dict(part=dict(_delete_=True, w=0))", {"x": 1, "part": {"w": 0}}),
        ("m = dict(_delete_=True, w=0)", {"w": 0}),
        ("m = dict(part=[1])", {"x": 1, "part": [1]}),
        ("m = dict(x=dict(_delete_=True, w=0))", {"x": {"w": 0}, "part": {"y": 2, "z": 3}}),
        ("m = dict(x={{_base_.n}})", {"x": {"a": 1}, "part": {"y": 2, "z": 3}}),
        ("m = dict(x=_base_.l)", {"x": [1, 2], "part": {"y": 2, "z": 3}}),
    ],
)
@pytest.mark.parametrize(
    "between", ["_base_ = ['./b.py']\n", "/mnt/some where/c-1.py\n", "C:\\configs\\c.py\n", ""]
)
def test_a_file_overrides_those_before_it(
    over: str, expected: dict[str, Any], between: str
) -> None:
    assert read_config(f"a/b.py\n{BASE}{between}{over}\n")["m"] == expected


def test_values_that_a_base_was_made_with_stay() -> None:
    """As in mmcv: another value for a name does not reach what was made of the first."""
    text = "n = dict(mean=1)\np = [dict(**n)]\n_base_ = []\nn = dict(mean=2)\n"
    assert read_config(text) == {"n": {"mean": 2}, "p": [{"mean": 1}]}
    assert read_config(f"{text}p = [dict(**n)]\n")["p"] == [{"mean": 2}]


@pytest.mark.parametrize(
    "text",
    [
        "a = open('/etc/passwd').read()",
        "a = 1\nfor a in range(3): pass",
        "a = [x for x in (1, 2)]",
        "a = dict(x=1)\na.update(x=2)",
        "a = dict(**b)",
        "a = 9 ** 9 ** 9",
        "a = 'x' * 10 ** 9",
        "a = 10 ** 400",
        "a = lambda: 1",
        "a = 1 if b else 2",
        "import a",
        "del a\na = 1 / 0",
        "def a(): return 1",
        "a = f'{1}'",
        "(a, b) = 1, 2",
    ],
)
def test_what_would_have_to_be_run_is_not_known(text: str) -> None:
    found = read_config(f"{text}\nb = a\n")
    assert isinstance(found["b"], Unread) and isinstance(found.get("a", found["b"]), Unread)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = (1", "cannot be read, line 1"),
        ("a = 1\nthis is no Python", "cannot be read, line 2 .*; give a recipe"),
        ("a = 1\0", "cannot be read"),
        ("a = " + "[" * 5000, "cannot be read"),
        ("a = " + "-" * 100_000 + "1", "cannot be read|nested too deeply"),
        ("a = " + "+".join("1" * 50_000), "cannot be read|nested too deeply"),
        ("a = 1\n" * 40_000, "240000 characters"),
        ("a = [1]\n" + "a = a + a\n" * 40, "holds more than any"),
        ("a = dict(x=1)\n" + "a = dict(x=a, y=a)\n" * 40, "holds more than any"),
        ("a = dict()\na['x'] = a", "holds more than any|nested too deeply"),
    ],
)
def test_no_text_takes_long_or_ends_in_a_traceback(text: str, message: str) -> None:
    start = time.process_time()
    with pytest.raises(UserError, match=message) as error:
        read_config(text)
    assert "\n" not in str(error.value)
    assert time.process_time() - start < 20  # some take a second; without bounds, for ever


def test_a_tree_is_bounded_where_python_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(python_text, "_BOUNDED", False)
    assert read_config("a = " + "+".join("1" * 50))["a"] == 50
    for deep in ("+".join("1" * 6000), "a" + ".b" * 6000, "f" + "()" * 6000, "a" + "[0]" * 6000):
        with pytest.raises(UserError, match="may be nested too deeply; give a recipe"):
            read_config(f"a = {deep}")
