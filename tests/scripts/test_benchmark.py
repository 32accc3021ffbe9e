"""The frame that measures ours against peers, without measuring anything that takes time."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))

import benchmark  # noqa: E402
from benchmarks.measure import Figure, Growth, Result, alternate, peak_mb  # noqa: E402
from benchmarks.page import Report, page  # noqa: E402

FAST = Figure("few", "the peer", "s", [1.0, 2.0, 3.0], [4.0, 6.0, 15.0], target=4)
SLOW = Figure("many", "the peer", "images/s", [30.0], [20.0], target=2, higher_is_better=True)
ALONE = Figure("alone", "", "s", [1.4, 1.6, 1.5], [], absolute_target=1.5)


def report(name: str = "row", **changes: object) -> Report:
    growth = Growth("the work", "boxes", [1, 10], "the peer", [0.1, 0.2], [0.3, None])
    result = Result([FAST, SLOW, ALONE], ["Both find the same."], [growth])
    plain = {"machine": "a machine", "versions": "torch 1", "day": "2026-01-01"}
    return Report(name, "the work", result, **{**plain, **changes})


def test_ratios_are_of_neighbours_and_say_how_much_better_ours_is() -> None:
    assert FAST.ratios == [4.0, 3.0, 5.0] and FAST.ratio == 4.0
    assert SLOW.ratio == 1.5
    assert ALONE.ratio is None


def test_ours_and_the_peer_take_turns() -> None:
    calls: list[str] = []
    times = alternate(lambda: calls.append("ours"), lambda: calls.append("peer"), rounds=3)
    assert calls == ["peer", "ours"] * 4  # the first two are not counted
    assert [len(both) for both in times] == [3, 3]


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux counts memory so")
def test_peak_memory_is_what_a_call_needs_at_most_and_gives_back() -> None:
    import torch

    assert 75 < peak_mb(lambda: torch.ones(20_000_000).sum()) < 110
    assert peak_mb(lambda: None) < 10


def test_the_page_says_what_was_reached_and_what_fell_short(tmp_path: Path) -> None:
    left_out = Report.left_out("gpu", "on a GPU", "there is no GPU here")
    for one in (report(), left_out):
        one.keep(tmp_path, ["gpu", "row"])
    text = (tmp_path / "performance.md").read_text()
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    assert lines[1].endswith("left out: there is no GPU here |")
    assert "2 s (1 to 3) | the peer 6 s (4 to 15) | **4.00** | 4x | reached" in lines[2]
    assert "**1.50** | 2x | 25% short" in lines[3]
    assert "1.5 s (1.4 to 1.6) |  |  | at most 1.5 s | reached" in lines[4]
    assert "| the work by boxes | 1 to 10, 10 times as much: **2** times as long |  |" in text
    assert "Both find the same." in text and "row: a machine; torch 1; 2026-01-01." in text
    assert (tmp_path / "performance.png").stat().st_size > 5000
    assert [row["name"] for row in json.loads((tmp_path / "performance.json").read_text())] == [
        "gpu",
        "row",
    ]


def test_a_row_measured_again_takes_its_old_place(tmp_path: Path) -> None:
    for one in (report("a"), report("b"), report("a", day="2026-02-02")):
        one.keep(tmp_path, ["a", "b"])
    found = json.loads((tmp_path / "performance.json").read_text())
    assert [(row["name"], row["day"]) for row in found] == [
        ("a", "2026-02-02"),
        ("b", "2026-01-01"),
    ]


def test_json_gives_the_report_back() -> None:
    again = Report.from_json(report().to_json())
    assert page([again]) == page([report()])


def test_every_row_has_a_title_and_something_to_run() -> None:
    rows = benchmark.rows()
    assert set(benchmark.ORDER) <= set(rows)
    for module in rows.values():
        assert module.TITLE and callable(module.run)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["row=speed"], "error: row=speed: there are losses, methods, decode"),
        (["rounds=0"], "error: rounds=0: give 1 or more"),
        (["losses"], "error: losses: give row=NAME,NAME rounds=N out=DIR"),
    ],
)
def test_a_mistake_is_one_line(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert benchmark.main(words) == 2
    error = capsys.readouterr().err
    assert error.startswith(message) and error.count("\n") == 1
