"""What is mutated, and that a mutation is tried in a copy."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

import mutate  # noqa: E402
from mutation.places import Place, chosen, places_of  # noqa: E402
from mutation.trial import Copy, Outcome, judges_of  # noqa: E402

FILE = "src/fcos_lightning/detector/sums.py"
CODE = '''"""Adds 1 and 2."""

from __future__ import annotations

from typing import Literal

Kind = Literal["a", 3]
Sums = dict[str, int | float]


def total(values: list[int], least: float = 0.5, fit: bool = True) -> float:
    """Return 7 - 8."""
    if not values:
        raise ValueError(f"{1 + 1}")
    kept = [one for one in values if one > least and fit]
    return -min(kept) + sum(  # not - here
        kept
    )


def unused(value: int) -> bool:
    return isinstance(value, int | float)
'''
#: What its test does not see.
UNSEEN = (
    "def total(values: list[int], least: float = [0.5 -> 0.6], fit: bool = True) -> float:",
    "kept = [one for one in values if one [> -> >=] least and fit]",
    "kept = [one for one in values if one > least [and -> or] fit]",
)
TESTS = """from fcos_lightning.detector.sums import total


def test_total() -> None:
    assert total([1, 2, 5]) == 7
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A package with one function and its test, known to git."""
    root = tmp_path / "work" / "repository"
    for name, text in {
        "pyproject.toml": "[tool.pytest.ini_options]\naddopts = '--import-mode=importlib'\n",
        "src/fcos_lightning/__init__.py": "",
        "src/fcos_lightning/detector/__init__.py": "",
        FILE: CODE,
        "tests/detector/test_sums.py": TESTS,
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    return root


def test_signs_bounds_and_numbers_are_mutated_and_words_are_not(repository: Path) -> None:
    source = (repository / FILE).read_bytes()
    assert [place.shown(source) for place in places_of(repository, FILE, 0)] == [
        "def total(values: list[int], least: float = [0.5 -> 0.6], fit: bool = True) -> float:",
        "def total(values: list[int], least: float = 0.5, fit: bool = [True -> False]) -> float:",
        "if [not  -> ]values:",
        "kept = [one for one in values if one [> -> >=] least and fit]",
        "kept = [one for one in values if one > least [and -> or] fit]",
        "return [- -> ]min(kept) + sum(  # not - here",
        "return -[min -> max](kept) + sum(  # not - here",
        "return -min(kept) [+ -> -] sum(  # not - here",
    ]


def test_the_seed_chooses_whatever_stands_elsewhere(repository: Path) -> None:
    def texts(seed: int) -> list[str]:
        source = (repository / FILE).read_bytes()
        places = places_of(repository, FILE, seed)
        return [place.shown(source) for place in chosen(places, 3, ["src/fcos_lightning/"])]

    before, other = texts(0), texts(1)
    assert len(before) == 3 and before != other
    moved = CODE.replace(
        "def total", "def first(value: int) -> int:\n    return value\n\n\ndef total"
    )
    (repository / FILE).write_text(moved)
    assert texts(0) == before


def test_each_room_has_its_share_and_no_file_two_before_all_have_one() -> None:
    places = chosen(mutate.all_places(ROOT, 3), 31, mutate.ROOMS)
    assert len(places) == 31
    for room, share in zip(mutate.ROOMS, (11, 10, 10), strict=True):
        files = [place.file for place in places if place.file.startswith(room)]
        assert len(files) == share
        eligible = {
            place.file for place in mutate.all_places(ROOT, 3) if place.file.startswith(room)
        }
        assert len(set(files)) == min(share, len(eligible))


def test_every_file_has_its_tests_the_nearest_first() -> None:
    assert judges_of(ROOT, "src/fcos_lightning/detector/assigners/fcos.py") == [
        ("tests/detector/assigners/test_fcos_assigner.py",),
        ("tests/detector",),
    ]
    for room in mutate.ROOMS:
        for file in (ROOT / room).rglob("*.py"):
            steps = judges_of(ROOT, file.relative_to(ROOT).as_posix())
            assert all((ROOT / test).exists() for step in steps for test in step) and steps


def test_a_mutation_is_tried_in_a_copy_and_undone(repository: Path, tmp_path: Path) -> None:
    copy = Copy(repository, tmp_path / "copy")
    places = {place.text: place for place in places_of(repository, FILE, 0)}
    killed = copy.judged(places["max"])
    assert (killed.killed, killed.by) == (True, "tests/detector/test_sums.py::test_total")
    # A least value of 0.6 keeps the same whole numbers.
    left = copy.judged(places["0.6"])
    assert (left.killed, left.by) == (False, "tests/detector/test_sums.py tests/detector")
    assert (repository / FILE).read_text() == (copy.folder / FILE).read_text() == CODE


def test_tests_that_fail_anyway_are_no_judges(repository: Path, tmp_path: Path) -> None:
    (repository / "tests/detector/test_sums.py").write_text(TESTS.replace("== 7", "== 8"))
    copy = Copy(repository, tmp_path / "copy")
    with pytest.raises(RuntimeError, match=r"without any mutation, tests/detector/test_sums\.py"):
        copy.judged(places_of(repository, FILE, 0)[0])


def test_a_run_goes_on_with_what_is_left(
    repository: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tried: list[str] = []

    class Judge:
        """Takes half of the places for killed, and runs nothing."""

        def __init__(self, *_: Path) -> None:
            pass

        def judged(self, place: Place) -> Outcome:
            tried.append(place.text)
            return Outcome(place.text in ("", "max", "-", "False"), "a test", 0.5)

    monkeypatch.setattr(mutate, "ROOT", repository)
    monkeypatch.setattr(mutate, "ROOMS", ("src/fcos_lightning/detector/",))
    monkeypatch.setattr(mutate, "Copy", Judge)
    file = tmp_path / "results.json"
    words = ["mutate.py", "--number", "8", "--results", str(file)]
    monkeypatch.setattr(sys, "argv", words)
    assert mutate.main() == 1 and len(tried) == 8
    whole = capsys.readouterr().out
    assert whole.endswith("5 of 8 killed, 0 cannot be noticed; seed 0, drawn of 8 places\n")
    assert whole.count("killed by a test") == 5 and whole.count("SURVIVED a test") == 3
    results = json.loads(file.read_text())
    file.write_text(json.dumps(dict(list(results.items())[3:])))
    tried.clear()
    assert mutate.main() == 1 and len(tried) == 3
    assert capsys.readouterr().out == whole
    monkeypatch.setattr(sys, "argv", [*words, "--again"])
    tried.clear()
    assert mutate.main() == 1 and sorted(tried) == ["0.6", ">=", "or"]
    # One of which is said why nobody could notice is no survivor.
    excused = {text: "a reason" for text in UNSEEN}
    monkeypatch.setattr(mutate, "UNNOTICEABLE", excused)
    capsys.readouterr()
    tried.clear()
    assert mutate.main() == 0 and tried == []
    out = capsys.readouterr().out
    assert out.count("cannot be noticed: a reason") == 3 and "5 of 8 killed, 3 cannot" in out
