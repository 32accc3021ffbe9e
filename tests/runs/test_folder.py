"""Whose place a run takes, and what it leaves when it is stopped."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from fcos_lightning.errors import UserError
from fcos_lightning.runs import folder as module
from fcos_lightning.runs.folder import (
    held_for_run,
    held_new_run,
    new_levels,
    new_run_folder,
    removed_if_stopped,
    save_config,
)
from fcos_lightning.signals import Asked
from fcos_lightning.storage.folders import hold


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PATIENCE_S", 0.0)
    monkeypatch.delenv("FCOS_RUN_DIR", raising=False)
    monkeypatch.setenv("FCOS_RUN_DIR", "")


def begun(run: Path, *entries: str) -> Path:
    """What a run leaves that is killed before its first checkpoint."""
    run.mkdir(parents=True)
    save_config(OmegaConf.create({"run_dir": str(run), "name": "x"}), run)
    for entry in entries:
        (run / entry).parent.mkdir(exist_ok=True, parents=True)
        (run / entry).write_text(entry)
    return run


def test_a_run_lost_before_its_first_checkpoint_makes_room(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in (1, 2):
        run = begun(tmp_path / "r50", "metrics.csv", "tensorboard/events", ".config.yaml.x.draft")
        assert new_run_folder(str(run), "x") == run
        assert list(run.iterdir()) == []
        assert (tmp_path / f"r50.lost{number}/tensorboard/events").read_text()  # nothing is lost
        assert f"which is r50.lost{number} now" in capsys.readouterr().out
        run.rmdir()


@pytest.mark.parametrize(
    "more", ["checkpoints/last.ckpt", "checkpoints/best.ckpt", "metrics.json", "thesis.txt"]
)
def test_nothing_else_makes_room(tmp_path: Path, more: str) -> None:
    run = begun(tmp_path / "r50", more)
    with pytest.raises(UserError, match="is not empty"):
        new_run_folder(str(run), "x")
    assert (run / more).read_text() == more and list(tmp_path.iterdir()) == [run]


def test_a_folder_that_says_it_is_another_place_makes_no_room(tmp_path: Path) -> None:
    run = begun(tmp_path / "r50").rename(tmp_path / "other")
    with pytest.raises(UserError, match="is not empty"):
        new_run_folder(str(run), "x")


_HOLDS = """
import sys, pathlib
from fcos_lightning.runs.folder import held_for_run
with held_for_run(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_run_that_somebody_works_on_is_left_alone(tmp_path: Path) -> None:
    run = begun(tmp_path / "r50")
    other = subprocess.Popen(
        [sys.executable, "-c", _HOLDS, str(run)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert other.stdin is not None and other.stdout is not None
    assert other.stdout.readline() == b"held\n"
    with pytest.raises(UserError, match="another process works on this run"):
        new_run_folder(str(run), "x")
    with pytest.raises(UserError, match="another process works on this run"), held_for_run(run):
        pass
    other.kill()  # its end lets go, however it ends
    other.wait()
    with held_for_run(run):
        pass
    assert new_run_folder(str(run), "x") == run
    other.stdin.close()
    other.stdout.close()


def meanwhile(monkeypatch: pytest.MonkeyPatch, *happens: Callable[[], object]) -> None:
    """Let things happen while this process waits for a folder, one for each wait."""
    left = list(happens)

    def held(folder: Path, wait_s: float) -> int | None:
        if left:
            left.pop(0)()
        return hold(folder, wait_s)

    monkeypatch.setattr(module, "hold", held)


@pytest.mark.parametrize("more", ["checkpoints/last.ckpt", "metrics.json", "thesis.txt"])
@pytest.mark.parametrize("first", ["absent", "empty", "begun"])
def test_a_run_that_came_further_while_another_waited_is_not_moved_or_written_into(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: str, more: str
) -> None:
    run = tmp_path / "race"
    if first == "empty":
        run.mkdir()
    elif first == "begun":
        begun(run)

    def trains_on() -> None:
        if first != "begun":
            save_config(OmegaConf.create({"run_dir": str(run), "name": "x"}), run)
        (run / more).parent.mkdir(exist_ok=True)
        (run / more).write_text(more)

    meanwhile(monkeypatch, trains_on)
    refused = "run_dir=.*: is not empty, and a run never writes into another's folder"
    with pytest.raises(UserError, match=refused), held_new_run(str(run), "x"):
        pass
    assert (run / more).read_text() == more and list(tmp_path.iterdir()) == [run]


def test_a_run_that_was_lost_while_another_waited_makes_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "race"
    meanwhile(monkeypatch, lambda: (run.rmdir(), begun(run, "metrics.csv")))
    with held_new_run(str(run), "x") as folder:
        assert folder == run and list(run.iterdir()) == []
    assert (tmp_path / "race.lost1/metrics.csv").read_text()


def test_a_folder_that_was_removed_while_another_waited_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "race"
    meanwhile(monkeypatch, run.rmdir)
    with held_new_run(str(run), "x") as folder:
        assert folder.is_dir()
        working = pytest.raises(UserError, match="another process works on this run")
        with working, held_for_run(run):
            pass


def test_a_run_that_was_moved_while_another_waited_is_not_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begun(tmp_path / "race")
    meanwhile(monkeypatch, lambda: run.rename(tmp_path / "other"))
    with pytest.raises(UserError, match="has renamed or removed"), held_for_run(run):
        pass


@pytest.mark.parametrize("kind", [Asked, KeyboardInterrupt])
@pytest.mark.parametrize("checkpoint", [False, True])
def test_a_run_that_is_stopped_before_its_first_checkpoint_leaves_nothing(
    tmp_path: Path, kind: type[BaseException], checkpoint: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made = new_levels(None)
    run = new_run_folder(None, "x")
    with pytest.raises(kind), removed_if_stopped(run, made):
        (run / "tensorboard").mkdir()
        (run / "config.yaml").write_text("")
        (run / "elsewhere").symlink_to(os.sep)
        if checkpoint:
            (run / "checkpoints").mkdir()
            (run / "checkpoints/last.ckpt").write_text("")
        raise kind(2)
    assert (list(tmp_path.iterdir()) == []) is not checkpoint
    assert (run / "config.yaml").exists() is checkpoint
