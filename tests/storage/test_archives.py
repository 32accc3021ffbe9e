from __future__ import annotations

import io
import os
import stat
import tarfile
import types
import zipfile
from pathlib import Path

import pytest
from tests.served_files import left, make_tar, make_zip

from fcos_lightning.errors import UserError
from fcos_lightning.storage import archives
from fcos_lightning.storage.archives import is_unpacked, unpack


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def zip_link(path: Path) -> Path:
    info = zipfile.ZipInfo("data/link")
    info.create_system = 3
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "w") as opened:
        opened.writestr("data/good", b"good")
        opened.writestr(info, "/etc/passwd")
    return path


@pytest.mark.parametrize("kind", [".zip", ".tar", ".tar.gz"])
def test_unpack(tmp_path: Path, kind: str) -> None:
    make = make_zip if kind == ".zip" else make_tar
    archive = make(tmp_path / f"a{kind}", {"data/x/1": b"one", "./data/2": b"two", "3": b""})
    into = tmp_path / "into"
    assert not is_unpacked(archive.name, into)
    unpack(archive, into)
    assert left(into) == [f".{archive.name}.unpacked", "3", "data", "data/2", "data/x", "data/x/1"]
    assert (into / "data" / "x" / "1").read_bytes() == b"one"
    assert is_unpacked(archive.name, into)
    (into / "data" / "2").write_bytes(b"edited")
    unpack(archive, into)  # a second time leaves everything as it is
    assert (into / "data" / "2").read_bytes() == b"edited"


def test_lost_files_are_unpacked_again(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", {"data/1": b"one", "data/2": b"two"})
    unpack(archive, tmp_path / "into")
    (tmp_path / "into" / "data" / "1").unlink()
    assert not is_unpacked("a.zip", tmp_path / "into")
    unpack(archive, tmp_path / "into")
    assert (tmp_path / "into" / "data" / "1").read_bytes() == b"one"


def test_a_new_archive_of_the_same_name_is_unpacked(tmp_path: Path) -> None:
    unpack(make_zip(tmp_path / "a.zip", {"data/1": b"one"}), tmp_path / "into")
    unpack(make_zip(tmp_path / "a.zip", {"data/1": b"one", "2": b"two"}), tmp_path / "into")
    assert (tmp_path / "into" / "2").read_bytes() == b"two"


def test_two_archives_share_folders_and_leave_other_files(tmp_path: Path) -> None:
    into = tmp_path / "into"
    (into / "data").mkdir(parents=True)
    (into / "data" / "mine").write_bytes(b"mine")
    unpack(make_tar(tmp_path / "a.tar", {"data/1": b"one", "data/same": b"s"}), into)
    unpack(make_tar(tmp_path / "b.tar", {"data/2": b"two", "data/same": b"s"}), into)
    found = {p.name: p.read_bytes() for p in (into / "data").iterdir()}
    assert found == {"mine": b"mine", "1": b"one", "2": b"two", "same": b"s"}


def test_other_files_are_never_overwritten(tmp_path: Path) -> None:
    into = tmp_path / "into"
    (into / "data").mkdir(parents=True)
    (into / "data" / "2").write_bytes(b"mine")
    archive = make_zip(tmp_path / "a.zip", {"data/1": b"one", "data/2": b"two"})
    with pytest.raises(UserError, match="not overwritten"):
        unpack(archive, into)
    assert left(into) == ["data", "data/2"]  # and nothing was moved
    assert (into / "data" / "2").read_bytes() == b"mine"
    (into / "data" / "2").unlink()
    (into / "data").rmdir()
    (into / "data").write_bytes(b"a file")
    with pytest.raises(UserError, match="in the way"):
        unpack(archive, into)


def test_killed_while_moving_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    into = tmp_path / "into"
    (into / "data").mkdir(parents=True)
    archive = make_zip(tmp_path / "a.zip", {f"data/{i}": bytes([i]) for i in range(6)})
    rename, moved = Path.rename, []

    def killed(self: Path, target: Path) -> Path:
        if len(moved) == 3:
            os._exit(9)
        moved.append(target)
        return rename(self, target)

    child = os.fork()
    if child == 0:
        monkeypatch.setattr(Path, "rename", killed)
        unpack(archive, into)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert (into / ".a.zip.unpacking").is_dir()
    assert not is_unpacked("a.zip", into)
    unpack(archive, into)
    assert left(into) == [".a.zip.unpacked", "data", *(f"data/{i}" for i in range(6))]


GOOD = {"data/good": b"good"}
HOSTILE = {
    "zip parent": lambda p: make_zip(p / "a.zip", {**GOOD, "../out": b"x"}),
    "zip deep parent": lambda p: make_zip(p / "a.zip", {**GOOD, "data/../../out": b"x"}),
    "zip absolute": lambda p: make_zip(p / "a.zip", {**GOOD, f"{p}/out": b"x"}),
    "zip backslash": lambda p: make_zip(p / "a.zip", {**GOOD, "..\\out": b"x"}),
    "zip drive": lambda p: make_zip(p / "a.zip", {**GOOD, "C:/out": b"x"}),
    "zip link": lambda p: zip_link(p / "a.zip"),
    "tar parent": lambda p: make_tar(p / "a.tar", {**GOOD, "../out": b"x"}),
    "tar absolute": lambda p: make_tar(p / "a.tar", {**GOOD, f"{p}/out": b"x"}),
    "tar symlink": lambda p: make_tar(
        p / "a.tar", GOOD, special("data/link", tarfile.SYMTYPE, "/etc/passwd")
    ),
    "tar symlink inside": lambda p: make_tar(
        p / "a.tar", GOOD, special("data/link", tarfile.SYMTYPE, "good")
    ),
    "tar hardlink": lambda p: make_tar(
        p / "a.tar", GOOD, special("data/link", tarfile.LNKTYPE, str(p / "victim"))
    ),
    "tar device": lambda p: make_tar(p / "a.tar", GOOD, special("data/null", tarfile.CHRTYPE)),
    "tar fifo": lambda p: make_tar(p / "a.tar", GOOD, special("data/fifo", tarfile.FIFOTYPE)),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_archives_leave_nothing(tmp_path: Path, case: str) -> None:
    (tmp_path / "victim").write_bytes(b"victim")
    archive = HOSTILE[case](tmp_path)
    into = tmp_path / "into"
    with pytest.raises(UserError, match="not unpacked: its member") as caught:
        unpack(archive, into)
    assert "\n" not in str(caught.value)
    assert left(tmp_path) == sorted([archive.name, "into", "victim"])
    assert (tmp_path / "victim").read_bytes() == b"victim"


def test_write_through_a_symlink_of_the_archive(tmp_path: Path) -> None:
    """The classic: a link to a folder outside, then a file below it."""
    outside = tmp_path / "outside"
    outside.mkdir()
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as opened:
        opened.addfile(special("door", tarfile.SYMTYPE, str(outside)))
        info = tarfile.TarInfo("door/out")
        info.size = 1
        opened.addfile(info, io.BytesIO(b"x"))
    with pytest.raises(UserError, match="link"):
        unpack(path, tmp_path / "into")
    assert left(outside) == left(tmp_path / "into") == []


def test_damaged_archives(tmp_path: Path) -> None:
    payload = os.urandom(5000)
    whole = make_zip(tmp_path / "a.zip", {"data/good": payload}).read_bytes()
    flipped = bytearray(whole)
    flipped[2000] ^= 1
    cases = {"crc.zip": bytes(flipped), "cut.zip": whole[:3000], "empty.zip": b""}
    tar = make_tar(tmp_path / "b.tar.gz", {"data/good": payload}).read_bytes()
    cases |= {"cut.tar.gz": tar[:3000], "text.tar": b"not an archive"}
    for name, content in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match="is damaged"):
            unpack(tmp_path / name, tmp_path / "into")
        assert left(tmp_path / "into") == []


def test_archive_larger_than_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = make_zip(tmp_path / "a.zip", {"data/good": bytes(5000)})
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda _: types.SimpleNamespace(free=4000))
    with pytest.raises(UserError, match="too little to unpack"):
        unpack(archive, tmp_path / "into")
    assert left(tmp_path / "into") == []
