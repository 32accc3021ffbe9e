from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from fcos_lightning.errors import UserError
from fcos_lightning.storage import folders
from fcos_lightning.storage.folders import complete_or_absent, hold, same_file

DIES = """
import os, sys
from pathlib import Path
from fcos_lightning.storage.folders import complete_or_absent
with complete_or_absent(Path(sys.argv[1])) as draft:
    (draft / "half").touch()
    os._exit(9)
"""


def names_in(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


@pytest.mark.parametrize("there", [False, True])
def test_everything_appears_at_the_end(tmp_path: Path, there: bool) -> None:
    out = tmp_path / "a" / "out"
    if there:
        out.mkdir(parents=True)
    with complete_or_absent(out, last="b") as draft:
        (draft / "b").write_text("b")
        (draft / "c").mkdir()
        (draft / "c" / "d").touch()
        assert not (out / "b").exists() and not (out / "c").exists()
    assert names_in(tmp_path) == ["a", "a/out", "a/out/b", "a/out/c", "a/out/c/d"]


@pytest.mark.skipif(os.name == "nt", reason="modes of POSIX")
def test_the_folder_gets_the_mode_of_a_new_one(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with complete_or_absent(tmp_path / "out"):
            pass
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o750


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), UserError("x"), OSError(28, "No space")])
def test_after_an_error_all_is_as_before(tmp_path: Path, there: bool, error: BaseException) -> None:
    out = tmp_path / "a" / "out"
    if there:
        out.mkdir(parents=True)
    before = names_in(tmp_path)
    with pytest.raises((KeyboardInterrupt, UserError)), complete_or_absent(out) as draft:
        (draft / "half").touch()
        raise error
    assert names_in(tmp_path) == before


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such locks")
@pytest.mark.parametrize("there", [False, True])
def test_the_draft_of_a_killed_process_goes_with_the_next_try(tmp_path: Path, there: bool) -> None:
    out = tmp_path / "out"
    if there:
        out.mkdir()
    done = subprocess.run([sys.executable, "-c", DIES, str(out)], check=False)
    assert done.returncode == 9
    assert any(name.endswith("half") for name in names_in(tmp_path))
    with complete_or_absent(out) as draft:
        (draft / "whole").touch()
    assert names_in(tmp_path) == ["out", "out/whole"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such locks")
def test_a_draft_that_is_being_written_stays(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with complete_or_absent(out) as mine:
        (mine / "mine").touch()
        with complete_or_absent(out) as other:
            (other / "other").touch()
        assert (mine / "mine").exists()
        # The other one was first; nothing of it is written over.
        os.rename(out, tmp_path / "others")
    assert names_in(out) == ["mine"] and names_in(tmp_path / "others") == ["other"]


def test_files_with_such_names_are_left_alone(tmp_path: Path) -> None:
    for name in (".out.x.draft", ".out.y", ".outer.x.draft"):
        (tmp_path / name).touch()
    with complete_or_absent(tmp_path / "out"):
        pass
    assert names_in(tmp_path) == [".out.x.draft", ".out.y", ".outer.x.draft", "out"]


def test_what_is_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(UserError, match=r"file is a file; choose"),
        complete_or_absent(tmp_path / "file" / "deep" / "out"),
    ):
        pass
    out = tmp_path / "out"
    not_empty = pytest.raises(UserError, match=r"cannot write .*out: Directory not empty")
    with not_empty, complete_or_absent(out):
        (out / "sub").mkdir(parents=True)
    assert names_in(tmp_path) == ["file", "out", "out/sub"]


def test_what_another_process_wrote_meanwhile_stays(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with (
        pytest.raises(UserError, match="another process has written same there meanwhile"),
        complete_or_absent(out) as draft,
    ):
        (draft / "same").write_text("second")
        (out / "same").write_text("first")
    assert names_in(tmp_path) == ["out", "out/same"]
    assert (out / "same").read_text() == "first"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such locks")
def test_what_has_the_name_after_the_wait_is_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    other = hold(out)
    assert other is not None

    def swap(_: float) -> None:
        out.rename(tmp_path / "aside")
        out.mkdir()
        os.close(other)

    monkeypatch.setattr(folders.time, "sleep", swap)
    handle = hold(out, wait_s=60)
    assert handle is not None and same_file(handle, out)
    os.close(handle)
    out.rmdir()
    with pytest.raises(FileNotFoundError):
        hold(out)
