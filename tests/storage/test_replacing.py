from __future__ import annotations

import ast
import os
import stat
import time
from pathlib import Path

import pytest

import fcos_lightning
from fcos_lightning.errors import UserError
from fcos_lightning.storage.replacing import replacing, replacing_text, write_whole

PACKAGE = Path(fcos_lightning.__file__).parent


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_replaced_at_the_end_and_not_before(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text("old")
    with replacing(file) as draft:
        draft.write(b"new")
        draft.flush()
        assert file.read_text() == "old"
        assert len(names_in(tmp_path)) == 2
    assert file.read_text() == "new" and names_in(tmp_path) == ["a.json"]


@pytest.mark.parametrize("open_draft", [replacing, replacing_text])
@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_whatever_happens_the_old_file_stays_and_no_draft(
    open_draft: object, error: BaseException, tmp_path: Path
) -> None:
    file = tmp_path / "a.json"
    file.write_text("old")
    with pytest.raises((KeyboardInterrupt, OSError)), open_draft(file) as draft:  # type: ignore[operator]
        draft.write("half" if open_draft is replacing_text else b"half")
        raise error
    assert file.read_text() == "old" and names_in(tmp_path) == ["a.json"]


def test_text_is_utf8_with_the_line_ends_given(tmp_path: Path) -> None:
    with replacing_text(tmp_path / "a.csv", newline="") as draft:
        draft.write("Hündin\r\n狗\n")
    assert (tmp_path / "a.csv").read_bytes() == "Hündin\r\n狗\n".encode()
    write_whole("Hündin\n", tmp_path / "new" / "deep" / "b.txt")
    write_whole(b"\x00\xff", tmp_path / "new" / "b.bin")
    assert (tmp_path / "new" / "deep" / "b.txt").read_bytes() == "Hündin\n".encode()
    assert (tmp_path / "new" / "b.bin").read_bytes() == b"\x00\xff"


@pytest.mark.skipif(os.name == "nt", reason="modes of POSIX")
def test_a_file_gets_the_mode_of_a_new_one(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_whole("x", tmp_path / "a")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


def test_what_kills_left_goes_after_an_hour_and_nothing_else(tmp_path: Path) -> None:
    long_ago = time.time() - 4000
    kept = [".a.json.bak", ".b.json.x1.draft", "a.json.x.draft", ".a.json.young.draft"]
    for name in [".a.json.x1.draft", *kept]:
        (tmp_path / name).write_text("half")
        if "young" not in name:
            os.utime(tmp_path / name, (long_ago, long_ago))
    write_whole("new", tmp_path / "a.json")
    assert names_in(tmp_path) == sorted([*kept, "a.json"])


def test_what_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot write .*file/a: \w+ .*; free the place"):
        write_whole("x", tmp_path / "file" / "a")
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match=r"cannot write .*folder: Is a directory"):
        write_whole("x", tmp_path / "folder")
    assert names_in(tmp_path) == ["file", "folder"]


def test_nothing_in_the_package_writes_any_other_way() -> None:
    """One rule has one place: see what the sources call."""
    # These write into a folder that as a whole is a draft.
    into_drafts = {"data/shapes/drawn.py", "inference/outputs.py", "inference/labels/"}
    assert [name for name in into_drafts if not (PACKAGE / name).exists()] == []
    found = set()
    for file in PACKAGE.rglob("*.py"):
        place = file.relative_to(PACKAGE).as_posix()
        if place.startswith(("storage/", *into_drafts)):
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            called = node.func.attr if isinstance(node.func, ast.Attribute) else ""
            called = node.func.id if isinstance(node.func, ast.Name) else called
            modes = [
                arg.value
                for arg in (*node.args, *(keyword.value for keyword in node.keywords))
                if isinstance(arg, ast.Constant) and isinstance(arg.value, str)
            ]
            opens_to_write = called in ("open", "fdopen") and any(
                mode and mode[0] in "wx" and len(mode) <= 3 for mode in modes
            )
            writes = called in ("write_text", "write_bytes", "mkstemp", "NamedTemporaryFile")
            moves = ast.unparse(node.func) in ("os.replace", "os.rename", "shutil.move")
            if opens_to_write or writes or moves:
                found.add(f"{place}: {ast.unparse(node)}")
    assert found == set()
