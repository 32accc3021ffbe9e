"""``metrics.csv``: what is counted, and what is dropped before a run goes on."""

from pathlib import Path

import pytest

from fcos_lightning.training.loggers.csv_log import RunCSVLogger


def logger(folder: Path, *rows: dict[str, float]) -> RunCSVLogger:
    made = RunCSVLogger(str(folder))
    for step, row in enumerate(rows):
        made.log_metrics(row, step=step)
        made.save()
    return made


def test_rows_are_counted_without_the_heading(tmp_path: Path) -> None:
    assert logger(tmp_path / "none").rows() == 0
    (tmp_path / "metrics.csv").touch()
    assert RunCSVLogger(str(tmp_path)).rows() == 0
    assert logger(tmp_path / "two", {"loss": 2.0}, {"loss": 1.0}).rows() == 2


@pytest.mark.parametrize(("kept", "left"), [(0, 0), (1, 1), (2, 2), (3, 3), (9, 3)])
def test_what_was_logged_after_a_checkpoint_goes(tmp_path: Path, kept: int, left: int) -> None:
    log = logger(tmp_path, {"loss": 3.0}, {"loss": 2.0}, {"loss": 1.0})
    log.forget_after(kept)
    lines = (tmp_path / "metrics.csv").read_text().splitlines()
    assert lines == ["loss,step", "3.0,0", "2.0,1", "1.0,2"][: left + 1]
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.csv"]


def test_there_may_be_nothing_to_drop(tmp_path: Path) -> None:
    RunCSVLogger(str(tmp_path)).forget_after(0)
    assert list(tmp_path.iterdir()) == []


def test_a_figure_that_comes_later_gets_its_column(tmp_path: Path) -> None:
    logger(tmp_path, {"loss": 3.0}, {"loss": 2.0, "AP": 0.5})
    assert (tmp_path / "metrics.csv").read_text().splitlines() == [
        "AP,loss,step",
        ",3.0,0",
        "0.5,2.0,1",
    ]
