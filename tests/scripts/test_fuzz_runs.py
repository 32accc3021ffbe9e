"""A small share of the run folders that ``scripts/fuzz_runs.py`` damages by the hundred."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))

from fuzz_runs import CASES, begun, fuzz, wrong  # noqa: E402


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return begun(tmp_path_factory.mktemp("base"))


@pytest.mark.parametrize("what", CASES)
def test_damaged_run_folders_go_on_or_are_refused_by_one_line(
    tmp_path: Path, base: Path, what: str
) -> None:
    report = fuzz(tmp_path, CASES[what], 8, 7, base)
    assert report.faults == []
    assert report.refused >= 3


def test_an_honest_one_goes_on_and_a_fault_is_found(tmp_path: Path, base: Path) -> None:
    def honest(chance: random.Random, run: Path) -> str:
        return "nothing"

    assert fuzz(tmp_path, honest, 1, 7, base).went_on == 1

    def beside(chance: random.Random, run: Path) -> str:
        (run.parent / "victim").touch()
        (run / "config.yaml").unlink()
        return "a file beside it"

    assert fuzz(tmp_path, beside, 1, 7, base).faults == [("a file beside it", "wrote ['victim']")]


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (1, "Traceback (most recent call last):\n  KeyError"),
        (2, "no line at all"),
        (2, "error: one\nerror: two"),
        (2, "error: \x1b[31mred"),
        (2, f"error: {'x' * 5000}"),
        (-1, "took too long"),
        (-11, ""),
    ],
)
def test_what_is_no_clear_line_is_a_fault(status: int, said: str) -> None:
    assert wrong(status, said) is not None
    assert wrong(2, "error: one clear line") is None and wrong(0, "remarks") is None
