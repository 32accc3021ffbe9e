"""Sweeps whose jobs differ in several words that belong together, and the page of the article."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

import fcos_lightning.cli.sweep as cli
from fcos_lightning.errors import UserError
from fcos_lightning.sweeps import runner
from fcos_lightning.sweeps.manifest import Manifest
from fcos_lightning.sweeps.settings import check_settings, with_base
from fcos_lightning.sweeps.space import check_countable, parse_space
from fcos_lightning.sweeps.stored_words import check_stored

JOB = Path(__file__).with_name("job.py")
CASES = (("method=fcos",), ("method=fcos", "model.head.quality_on=none"), ("method=ssd",))
#: Quick to count.
DATA = (
    "experiment=quickstart",
    *("data.train_images=12", "data.val_images=4", "data.image_px=64"),
    *("data.shorter_side=64", "data.longer_side=64"),
)
ARTICLE = (
    "sweep=article",
    'sweep.cases=[["method=fcos"],["method=retinanet"],["method=ssd"]]',
    "sweep.dir=s",
    *DATA,
    "seed=0,1",
)


def test_each_case_is_crossed_with_what_is_swept() -> None:
    space = parse_space(["model=r18", "seed=0,1"], {}, CASES)
    assert space.grid() == [(*case, f"seed={seed}") for case in CASES for seed in (0, 1)]
    assert space.fixed == ("model=r18",)
    check_countable(space, 6)
    with pytest.raises(UserError, match=r"the grid has 6 jobs, more than sweep\.most=5"):
        check_countable(space, 5)
    assert parse_space(["seed=3"], {"seed": [0, 1]}, CASES).grid() == list(CASES)


def test_words_of_cases_are_theirs_alone() -> None:
    with pytest.raises(UserError, match="method=atss: is what the cases of this sweep differ in"):
        parse_space(["method=atss", "seed=0,1"], {}, CASES)
    space = parse_space(["seed=0,1"], {}, CASES)
    space.check_holds(["method=fcos", "model.head.quality_on=none", "seed=1"])
    for word in ("method=tal", "model.head.quality_on=box", "seed=2"):
        with pytest.raises(UserError, match="is not one of the values that are swept"):
            space.check_holds(["method=fcos", word])


def test_cases_of_a_strangers_folder_may_not_reach_beyond_a_run(tmp_path: Path) -> None:
    for word in ("run_dir=/elsewhere", "trusted_packages=[evil]", "callbacks.best.dirpath=/etc"):
        space = parse_space(["seed=0,1"], {}, [["method=fcos"], [word]])
        with pytest.raises(UserError, match="which counts only on a command line"):
            check_stored(space, tmp_path)


def test_a_base_is_what_is_not_given() -> None:
    settings = {"base": ["experiment=finetune", "seed=0"]}
    assert with_base(["data.root=DIR"], settings) == [*settings["base"], "data.root=DIR"]
    assert with_base(["experiment=quickstart"], settings) == ["seed=0", "experiment=quickstart"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"search": "optuna"}, "sweep.search=optuna: this sweep has cases, of which all are run"),
        ({"cases": [["method=fcos", 3]]}, "sweep.cases="),
        ({"cases": [], "train": False, "article": False}, "sweep.train=false: without sweep=art"),
        ({"images": 0}, "sweep.images=0: give 1 or more"),
        ({"article": "yes"}, "sweep.article=yes"),
    ],
)
def test_settings_that_mean_nothing(changes: dict[str, object], said: str) -> None:
    settings = cli.compose("sweep", ["sweep=article"])["sweep"]
    check_settings(settings)
    with pytest.raises(UserError, match=said):
        check_settings({**settings, **changes})


def test_the_page_is_there_before_training_and_again_behind_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    # The process that stands for a run reads the words that it knows.
    monkeypatch.setattr(
        runner, "train_command", lambda words: [sys.executable, str(JOB), *words, "ap=0.25"]
    )
    assert cli.sweep([*ARTICLE, "sweep.train=false"]) == 0
    jobs = Manifest.load(tmp_path / "s").jobs
    assert len(jobs) == 6 and {job.state for job in jobs} == {"waiting"}
    assert not any((tmp_path / "s").glob("0*"))
    before = json.loads((tmp_path / "s" / "article.json").read_text())
    assert before["looked_at"] == 12 and (tmp_path / "s" / "article.html").is_file()
    assert [(row["name"], row["done"], row["runs"]) for row in before["trained"]] == [
        ("fcos", 0, 2),
        ("retinanet", 0, 2),
        ("ssd", 0, 2),
    ]
    assert cli.sweep(ARTICLE) == 0  # the same command trains
    assert {job.state for job in Manifest.load(tmp_path / "s").jobs} == {"done"}
    after = json.loads((tmp_path / "s" / "article.json").read_text())
    assert {(row["done"], row["AP"], row["spread"]) for row in after["trained"]} == {(2, 0.25, 0.0)}
    for key in ("ambiguous", "recall", "balance", "options", "nets"):
        assert after[key] == before[key]
    # A sweep that goes on from its folder has the page, too.
    (tmp_path / "s" / "article.html").unlink()
    assert cli.sweep(["sweep.resume=s"]) == 0
    assert (tmp_path / "s" / "article.html").is_file()
