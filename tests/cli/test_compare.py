import json
import shutil
from pathlib import Path
from urllib.parse import unquote

import pytest
from tests.cli.running import FINDING, Command, only_run


@pytest.fixture
def runs(command: Command, tmp_path: Path) -> tuple[str, str]:
    """A run, and another whose name Hydra would read more in."""
    names = ("a", "b, seed=1 (2)")
    for seed, name in enumerate(names):
        words = (f"run_dir={name}", f"seed={seed}", "trainer.log_every_n_steps=2")
        result = command("train", *FINDING, *words)
        assert result.code == 0, result.err
    return names


def test_runs_are_compared_and_mistakes_are_one_line(
    command: Command, runs: tuple[str, str], tmp_path: Path
) -> None:
    result = command("compare", *runs, "resamples=50")
    assert result.code == 0, result.err
    assert "comparison.html and comparison.json in" in result.out
    rows = [line for line in result.out.splitlines() if line.startswith("│")]
    assert max(map(len, rows)) <= 80 and any(f"│ {runs[1]} " in row for row in rows)
    assert f"{runs[1]} has AP" in " ".join(result.out.split())
    folder = only_run(tmp_path)
    assert sorted(file.name for file in folder.iterdir()) == ["comparison.html", "comparison.json"]
    numbers = json.loads((folder / "comparison.json").read_text())
    assert [run["name"] for run in numbers["runs"]] == list(runs)
    for name, row in zip(runs, numbers["runs"], strict=True):
        figures = json.loads((tmp_path / name / "metrics.json").read_text())
        for figure, one in row["figures"].items():
            assert one["value"] == pytest.approx(figures[figure], abs=1e-9), figure
    assert [(row["key"], row["values"]) for row in numbers["settings"]] == [("seed", ["0", "1"])]
    assert {chart["name"] for chart in numbers["course"]} >= {"AP", "AP50", "learning rate"}
    # A link to each run's own page, from where this one lies.
    for name, row in zip(runs, numbers["runs"], strict=True):
        target = folder / unquote(row["report"])
        assert target.resolve() == (tmp_path / name / "report.html").resolve()

    # The same with the list as an override, into a folder of one's own; not into one that is used.
    again = command("compare", f"runs=[a,'{runs[1]}']", "resamples=50", "run_dir=out")
    assert again.code == 0, again.err
    assert (
        json.loads((tmp_path / "out/comparison.json").read_text())["runs"][0]["figures"]
        == (numbers["runs"][0]["figures"])
    )
    for words, said in (
        (("a",), "give two run folders or more"),
        ((), "give two run folders or more"),
        (("a", "./a"), "is the same run as"),
        (("a", "missing"), "missing: no such folder"),
        (("a", "a/metrics.json"), "is a file of a run, and no folder; give the run folder, a"),
        (("a", "a/checkpoints"), "so it is not a run folder"),
        (("a", runs[1], "resamples=0"), "resamples=0: give 1 to"),
        (("a", runs[1], "resamples=many"), "resamples=many: give a whole number"),
        (("a", runs[1], "run_dir=out"), "is not empty"),
        (("a", runs[1], "resmples=9"), "resmples"),
        (("a", runs[1], "data=coco", "data.root=missing"), "missing"),
    ):
        result = command("compare", *words)
        assert result.code == 2 and said in result.err, (words, result.err)
        assert len(result.err.splitlines()) == 1, result.err


def test_other_data_classes_and_halves_of_runs_are_refused(
    command: Command, runs: tuple[str, str], tmp_path: Path
) -> None:
    a = tmp_path / "a"

    def refused(said: str, second: str) -> None:
        result = command("compare", "a", second, "resamples=5")
        assert result.code == 2 and said in result.err, result.err
        assert len(result.err.splitlines()) == 1, result.err
        assert not (tmp_path / "runs").exists() or not list(tmp_path.glob("runs/compare/*"))

    other = command("train", *FINDING, "run_dir=other", "data.val_images=9", "report=false")
    assert other.code == 0, other.err
    refused("was measured on other data than a", "other")
    for missing in ("metrics.json", "predictions.json", "checkpoints/best.ckpt"):
        half = tmp_path / "half"
        shutil.copytree(a, half)
        (half / missing).unlink()
        refused("so the run is not finished; go on with it by fcos-train resume=half", "half")
        shutil.rmtree(half)
    for content, said in (
        ('{"AP": 0.1, "images_seen": 4, "images": 8}', "was measured on 4 of 8 images only"),
        ("[]", "holds no figures of a run"),
        ("{", "cannot be read as figures of a run"),
    ):
        shutil.copytree(a, half)
        (half / "metrics.json").write_text(content)
        refused(said, "half")
        shutil.rmtree(half)
    shutil.copytree(a, half)
    (half / "predictions.json").write_text("[{}]")
    refused("is no list of detections", "half")
