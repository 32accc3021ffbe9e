import json
from pathlib import Path

import pytest
from tests.cli.running import FINDING, SMALL, Command, only_run

PAGES = ("report.html", "report.json", "thresholds.json")


@pytest.fixture
def trained(command: Command, tmp_path: Path) -> Path:
    result = command("train", *FINDING, "run_dir=trained", "trainer.log_every_n_steps=2")
    assert result.code == 0, result.err
    assert ", ".join(("predictions.json", *PAGES)) in result.out
    return tmp_path / "trained"


def test_a_run_ends_with_a_report(command: Command, trained: Path, tmp_path: Path) -> None:
    numbers = json.loads((trained / "report.json").read_text())
    figures = json.loads((trained / "metrics.json").read_text())
    assert {**numbers["figures"], "per_class": figures["per_class"]} == figures
    assert numbers["detections"] == len(json.loads((trained / "predictions.json").read_text()))
    course = {chart["name"] for chart in numbers["course"]}
    assert course == {
        *("losses", "AP", "learning rate", "positives by level", "speed", "waiting for data")
    }
    assert "fewer than 100 boxes to learn from" in " ".join(
        row["text"] for row in numbers["advice"]
    )

    # The same of its checkpoint, in a folder of its own, with the course of the run.
    best = f"ckpt={trained}/checkpoints/best.ckpt"
    result = command("report", best)
    assert result.code == 0, result.err
    assert "report.html, report.json and thresholds.json in" in result.out
    alone = only_run(tmp_path)
    assert alone.parent.name == "report"
    for name in PAGES:
        assert (alone / name).read_text() == (trained / name).read_text(), name
    assert json.loads((alone / "metrics.json").read_text()) == figures

    # What predict takes.
    words = ("predict", best, f"source={trained}/previews", "draw=false")
    chosen = json.loads((alone / "thresholds.json").read_text())
    chosen["per_class"]["circle"] = 1.0
    chosen["per_class"]["square"] = 0.0
    (tmp_path / "own (1).json").write_text(json.dumps(chosen))
    result = command(*words, "thresholds=own (1).json", "out=out")
    assert result.code == 0, result.err
    rows = json.loads((tmp_path / "out/predictions.json").read_text())
    least = {
        name: chosen["overall"] if value is None else value
        for name, value in chosen["per_class"].items()
    }
    assert rows and all(row["score"] >= least[row["category_name"]] for row in rows)
    assert "circle" not in {row["category_name"] for row in rows}
    assert min(row["score"] for row in rows) < 0.3  # which the file is instead of
    for more, said in (
        ("score_threshold=0.3", "give one of the two"),
        ("thresholds=none.json", "cannot be read"),
        (f"thresholds={trained}/metrics.json", 'has no "overall"'),
    ):
        again = ("thresholds=own (1).json",) if more.startswith("score") else ()
        result = command(*words, *again, more, "out=none")
        assert result.code == 2 and said in result.err, (more, result.err)
        assert len(result.err.splitlines()) == 1


def test_a_report_is_made_only_if_it_is_wanted(command: Command, tmp_path: Path) -> None:
    result = command("train", *SMALL, "schedule.max_epochs=1", "run_dir=a", "report=false")
    assert result.code == 0, result.err
    best = f"ckpt={tmp_path}/a/checkpoints/best.ckpt"
    assert command("test", best, "run_dir=b").code == 0
    assert not any((tmp_path / run / name).exists() for run in "ab" for name in PAGES)
    result = command("test", best, "run_dir=c", "report=true", "decoder.score_threshold=0.001")
    assert result.code == 0, result.err
    assert all((tmp_path / "c" / name).is_file() for name in PAGES)


def test_a_run_that_was_killed_in_its_report_goes_on_and_has_one(
    command: Command, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcos_lightning.reports.report as module

    whole = {name: (trained / name).read_text() for name in PAGES}
    for name in PAGES:
        (trained / name).unlink()

    class Killed(BaseException):
        pass

    def killed(*_: object) -> str:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(module, "report_page", killed)
        with pytest.raises(Killed):
            command("train", f"resume={trained}")
    assert not (trained / "report.html").exists()
    assert (trained / "metrics.json").is_file()
    result = command("train", f"resume={trained}")
    assert result.code == 0, result.err
    numbers = json.loads((trained / "report.json").read_text())
    assert numbers == json.loads(whole["report.json"])
    assert (trained / "report.html").read_text() == whole["report.html"]
