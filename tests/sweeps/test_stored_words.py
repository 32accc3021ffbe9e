"""A sweep's folder holds words of a command line: those that reach beyond its runs are refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from fcos_lightning.cli import sweep as cli
from fcos_lightning.errors import UserError
from fcos_lightning.sweeps.manifest import Manifest
from fcos_lightning.sweeps.space import parse_space
from fcos_lightning.sweeps.stored_words import check_stored, said_again

JOB = {
    "number": 1,
    "swept": ["schedule.lr=0.1"],
    "folder": "001_schedule.lr-0.1",
    "state": "waiting",
    "exit_code": None,
    "ap": None,
    "attempts": 0,
    "seconds": 0.0,
    "trial": None,
}
SETTINGS = {key: value for key, value in cli._settings([]).items() if key not in ("dir", "resume")}


def content(**changes: Any) -> dict[str, Any]:
    words = ["schedule.lr=0.1,0.2", "data=shapes"]
    jobs = [JOB, {**JOB, "number": 2, "swept": ["schedule.lr=0.2"], "folder": "002_x"}]
    return {
        "format": 1,
        "words": words,
        "settings": SETTINGS,
        "fixed": ["data=shapes"],
        "jobs": jobs,
        **changes,
    }


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What would have been run."""
    from fcos_lightning.sweeps import jobs

    commands: list[Any] = []

    def start(self: object, command: Any, log: Path, slot: int) -> None:
        commands.append(command)
        raise KeyboardInterrupt

    monkeypatch.setattr(jobs.LocalLauncher, "start", start)
    return commands


def resumed(folder: Path, manifest: object, *words: str) -> None:
    folder.mkdir(exist_ok=True)
    text = manifest if isinstance(manifest, str) else json.dumps(manifest)
    (folder / "manifest.json").write_text(text)
    cli.sweep([f"sweep.resume={folder}", *words])


BEYOND = [
    "trusted_packages=[evil]",
    "+callbacks.x._target_=${oc.env:HOME}",
    "data.root=${oc.env:HOME}",
    "callbacks.best.dirpath=/etc",
    "callbacks.best.dirpath=elsewhere",
    "callbacks.last.folder=../elsewhere",
    "+logger.mlflow.tracking_uri='https://example.org'",
    "+logger.w.settings={base_url:'https://example.org'}",
    "trainer.default_root_dir='~/x'",
    "data.root=/nothing/there",
    "model=../../../../tmp/evil",
    "model=/tmp/evil",
    "run_dir=/etc",
    "resume=/etc",
    "hydra.run.dir=/etc",
    "hydra/launcher=evil",
    "hydra.searchpath=['file:///tmp']",
]


@pytest.mark.parametrize("word", BEYOND)
def test_a_word_that_reaches_beyond_is_refused(
    tmp_path: Path, started: list[Any], word: str
) -> None:
    kept = content(words=["schedule.lr=0.1,0.2", word], fixed=[word], jobs=[])
    with pytest.raises(UserError, match="give the command that began the sweep again") as caught:
        resumed(tmp_path / "s", kept)
    assert "\n" not in str(caught.value) and not started


@pytest.mark.parametrize("word", [word for word in BEYOND if "{base_url" not in word])
def test_a_swept_value_that_reaches_beyond_is_refused(
    tmp_path: Path, started: list[Any], word: str
) -> None:
    key, _, value = word.partition("=")
    with pytest.raises(UserError, match="give the command that began the sweep again"):
        resumed(tmp_path / "s", content(words=[f"{key}={value},{value}"], jobs=[]))
    assert not started


def test_words_about_a_run_are_not(tmp_path: Path, started: list[Any]) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set/file").touch()
    words = ["schedule.lr=0.1,0.2", "model=r18", f"data.root={tmp_path}/set", "name=mine"]
    words += ["+callbacks.x._target_=lightning.pytorch.callbacks.Timer", "callbacks.ema=null"]
    check_stored(parse_space(words, {}), tmp_path)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        (lambda c: c["jobs"][0].update(swept=["schedule.lr=0.3"]), "is not one of the values"),
        (lambda c: c["jobs"][0].update(swept=["run_dir=/etc"]), "is not one of the values"),
        (lambda c: c["jobs"][0].update(folder="../elsewhere"), "is not one beside it"),
        (lambda c: c["jobs"][0].update(folder="/etc"), "is not one beside it"),
        (lambda c: c["jobs"][0].update(folder=".."), "is not one beside it"),
        (lambda c: c["jobs"][0].update(number=7), "has no such number"),
        (lambda c: c["jobs"][0].update(attempts="x"), "has no such attempts"),
        (lambda c: c["jobs"][0].update(extra=1), "has no such extra"),
        (lambda c: c["jobs"][0].pop("folder"), "has no such folder"),
        (lambda c: c.update(jobs=5), "jobs is no a list"),
        (lambda c: c.update(words="x"), "words is no a list"),
        (lambda c: c.update(settings=[]), "settings is no settings"),
        (lambda c: c["settings"].update(launcher="slurm", slurm={"setup": ["x"]}), "ran through"),
        (lambda c: c["settings"].update(parallel="x"), "sweep.parallel=x"),
        (lambda c: c["settings"].update(params=5), "sweep.params=5"),
        (lambda c: c.update(format=2), "format 2 is not known"),
    ],
)
def test_a_manifest_of_another_form_is_one_line(
    tmp_path: Path, started: list[Any], how: Callable[[Any], object], said: str
) -> None:
    changed = json.loads(json.dumps(content()))
    how(changed)
    with pytest.raises(UserError, match=said) as caught:
        resumed(tmp_path / "s", changed)
    assert "\n" not in str(caught.value) and not started


@pytest.mark.parametrize("text", ["", "[]", "5", "{", "[" * 100_000, '{"format": 1}', "\x00"])
def test_what_is_no_manifest_is_one_line(tmp_path: Path, started: list[Any], text: str) -> None:
    with pytest.raises(UserError, match="not a manifest of a sweep"):
        resumed(tmp_path / "s", text)
    assert not started


def test_the_command_that_began_a_sweep_goes_on_with_its_own_words(
    tmp_path: Path, started: list[Any]
) -> None:
    """Those of the folder count for nothing, but that they have to be the same."""
    words = ["schedule.lr=0.1,0.2", "data=shapes", f"callbacks.best.dirpath={tmp_path}/elsewhere"]
    (tmp_path / "s").mkdir()
    kept = content(words=words, fixed=["callbacks.best.dirpath=/etc", "trusted_packages=[evil]"])
    (tmp_path / "s/manifest.json").write_text(json.dumps(kept))
    with pytest.raises(KeyboardInterrupt):
        cli.sweep([*words, f"sweep.dir={tmp_path}/s"])
    ((*_, data, best, rate, place),) = started
    assert (data, best, rate) == (words[1], words[2], "schedule.lr=0.1")
    assert place == f"run_dir='{tmp_path}/s/{JOB['folder']}'"


def test_slurms_settings_come_from_the_command_line(tmp_path: Path) -> None:
    kept = content(settings={**SETTINGS, "slurm": {"setup": ["touch mark"]}})
    (tmp_path / "s").mkdir()
    (tmp_path / "s/manifest.json").write_text(json.dumps(kept))
    settings = cli._settings([f"sweep.resume={tmp_path}/s"])
    cli._opened(tmp_path / "s", [], settings, [f"sweep.resume={tmp_path}/s"])
    assert settings["slurm"] is None


def test_a_job_that_goes_on_is_told_again_what_leads_elsewhere(tmp_path: Path) -> None:
    run = tmp_path / "001"
    (run / "checkpoints").mkdir(parents=True)
    (run / "checkpoints/last.ckpt").touch()
    tree = {
        "run_dir": str(run),
        "callbacks": {"best": {"dirpath": "/fast/disk"}, "last": {"folder": str(run)}},
    }
    OmegaConf.save(OmegaConf.create(tree), run / "config.yaml")
    words = (
        "+callbacks.best.dirpath=/fast/disk",
        "callbacks.last.folder=x",
        "trusted_packages=[mypkg]",
        "model=r18",
    )
    assert said_again(words, run) == [
        "++callbacks.best.dirpath=/fast/disk",
        "++trusted_packages=[mypkg]",
    ]
    # What the folder alone says is not said for it.
    assert said_again(("model=r18",), run) == []


def test_a_search_takes_only_what_it_searches_from_its_journal(tmp_path: Path) -> None:
    from fcos_lightning.sweeps.search import STORAGE, Search

    space = parse_space(["schedule.lr=interval(0.1,0.2)", "model=r18,mnv2"], {})
    first = Search(tmp_path, space, 0, False, 0)
    first.study.enqueue_trial({"model": "r18", "schedule.lr": 0.15, "run_dir": "/etc"})
    _, words = Search(tmp_path, space, 0, False, 0).ask()
    assert sorted(words) == ["model=r18", "schedule.lr=0.15"]
    with pytest.raises(UserError, match="is not one of the values that are swept"):
        space.check_holds(["model=r18", "run_dir=/etc"])
    (tmp_path / STORAGE).write_text("no journal\n")
    with pytest.raises(UserError, match=r"optuna\.log: cannot be gone on from"):
        Search(tmp_path, space, 0, False, 0)


def test_the_table_prints_what_a_job_is_called_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from rich.console import Console

    from fcos_lightning.sweeps.results import write_report

    manifest = Manifest(tmp_path, (), {}, ())
    manifest.add(["name=[bold]a\x1b[31m"])
    write_report(manifest, Console(width=200))
    assert "[bold]a\\x1b[31m" in capsys.readouterr().out
