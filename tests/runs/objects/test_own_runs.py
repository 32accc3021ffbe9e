"""What a machine remembers of the runs that were begun with packages of the user's own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from fcos_lightning.runs.objects.own_runs import remember, remembered
from fcos_lightning.storage.caches import state_folder
from fcos_lightning.storage.run_folder import RunFolder


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A run that was begun with two packages, and a machine that remembers nothing else."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "run").mkdir()
    run = RunFolder(tmp_path / "run")
    remember(run, ("mine", "yours"))
    return run


def record() -> Path:
    """The only file that the machine keeps."""
    state = state_folder()
    assert state is not None
    (file,) = (path for path in state.rglob("*") if path.is_file())
    return file


def test_the_same_run_is_known_again(run: RunFolder) -> None:
    assert remembered(run) == ("mine", "yours")
    before = run.own.read_text()
    remember(run, ("mine", "yours"))
    assert run.own.read_text() == before
    remember(run, ("mine",))
    assert remembered(run) == ("mine",)


def test_without_a_package_nothing_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    run = RunFolder(tmp_path)
    remember(run, ())
    assert remembered(run) == () and not list(tmp_path.iterdir())


def test_a_copy_elsewhere_and_another_folder_in_its_place_are_not_it(
    run: RunFolder, tmp_path: Path
) -> None:
    copy = RunFolder(Path(shutil.copytree(run.path, tmp_path / "copy")))
    assert remembered(copy) == ()
    for content in ("", "\n", f"{'0' * 32}\n", "ä" * 5000):
        run.own.write_text(content)
        assert remembered(run) == ()
    run.own.unlink()
    assert remembered(run) == ()


@pytest.mark.parametrize("content", ["", "[]", "{}", "[" * 4000, '{"word": 1, "folder": 2}', "3"])
def test_a_broken_record_trusts_nothing(run: RunFolder, content: str) -> None:
    assert json.loads(record().read_text())["packages"] == ["mine", "yours"]
    record().write_text(content)
    assert remembered(run) == ()


def test_without_a_home_nothing_is_remembered(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "not/absolute")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert remembered(run) == ()

    def nobody() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", nobody)
    remember(run, ("mine",))
    assert remembered(run) == ()


def test_where_the_record_cannot_be_written_the_run_goes_on(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    remember(run, ("mine",))
    assert remembered(run) == ()
