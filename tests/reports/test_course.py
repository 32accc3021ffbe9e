from pathlib import Path

import pytest
from tests.reports.pages import write_course

from fcos_lightning.reports.advice import _epochs
from fcos_lightning.reports.charts import line_chart
from fcos_lightning.reports.course import course_of


def test_the_charts_hold_what_was_logged(tmp_path: Path) -> None:
    charts = {chart["name"]: chart for chart in course_of(write_course(tmp_path / "metrics.csv"))}
    (cls, loss) = charts["losses"]["series"]
    assert (cls["name"], loss["name"]) == ("cls", "loss")
    assert cls["steps"][:3] == [0, 2, 4] and cls["values"][0] == 1
    assert [one["name"] for one in charts["AP"]["series"]] == ["AP", "AP50"]
    assert charts["AP"]["series"][0]["steps"] == list(range(0, 100, 10))
    assert [one["name"] for one in charts["positives by level"]["series"]] == ["P3", "P4"]


def test_long_runs_are_thinned_by_averaging(tmp_path: Path) -> None:
    file = tmp_path / "metrics.csv"
    rows = "".join(f"{step},{step % 2}\n" for step in range(6000))
    file.write_text(f"step,train/loss\n{rows}")
    (chart,) = course_of(file)
    (series,) = chart["series"]
    assert len(series["values"]) == 300 and set(series["values"]) == {0.5}
    assert series["steps"][0] == 10 and series["steps"] == sorted(series["steps"])


@pytest.mark.parametrize(
    "content", ["", "a,b\n1,2\n", "step,train/loss\nx,1\n3,nan\n4,\n", "\x00\xff", "step\n1,2,3\n"]
)
def test_what_is_no_course_is_left_out(tmp_path: Path, content: str) -> None:
    file = tmp_path / "metrics.csv"
    file.write_bytes(content.encode("latin-1"))
    assert course_of(file) == []
    assert course_of(tmp_path / "none.csv") == []


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], "AP still climbs: 0.400 was the best until step 3"),
        ([0.1, 0.3, 0.5, 0.4, 0.35, 0.3], "AP was highest, 0.500, at step 2, and is 0.300"),
        ([0.1, 0.3, 0.5, 0.5, 0.5, 0.501], "AP has levelled out"),
    ],
)
def test_the_end_of_the_curve_is_told(values: list[float], said: str) -> None:
    series = {"name": "AP", "steps": list(range(6)), "values": values}
    (row,) = _epochs([{"name": "AP", "unit": "AP", "series": [series]}])
    assert row["text"].startswith(said)


def test_lines_lie_within_the_chart() -> None:
    chart = line_chart([{"name": "a", "x": [0, 5, 10], "y": [0, None, 4.0]}])
    assert chart["lines"][0]["points"] == "0,1 1,0"
    assert chart["x_ticks"][0] == (0.0, "0") and chart["x_ticks"][-1] == (1.0, "10")
    assert [label for _, label in chart["y_ticks"]] == ["0", "1", "2", "3", "4"]
    small = line_chart([{"name": "a", "x": [3], "y": [2e-5]}])
    assert small["lines"][0]["alone"] == (0.0, 0.0)
    assert small["y_ticks"][-1][1] == "2e-5"
    assert line_chart([{"name": "a", "x": [], "y": []}])["lines"][0]["points"] == ""
