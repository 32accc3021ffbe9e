import contextlib
import hashlib
import importlib.util
import io
import json
import os
import re
import stat
import subprocess
import sys
import tarfile
import threading
import types
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from fcos_lightning.checkpoints import published
from fcos_lightning.data import archives, download, public_sets
from fcos_lightning.data.download import fetch, is_unpacked, remote_size, unpack
from fcos_lightning.errors import UserError

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
CONTENT = bytes(range(256)) * 4096  # 1 MiB
MD5 = hashlib.md5(CONTENT).hexdigest()


@dataclass
class Site:
    """What the loopback server holds, how it misbehaves, and what it was asked."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    etag: str | None = '"one"'
    last_modified: str | None = None
    ranges: bool = True
    honours_if_range: bool = True
    cuts: list[int] = field(default_factory=list)  # bytes of the next bodies, then the cut
    statuses: list[int] = field(default_factory=list)  # of the next answers
    says_length: bool = True
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)
    conditions: list[str | None] = field(default_factory=list)  # If-Range of each request

    @property
    def ranges_asked(self) -> list[str | None]:
        return [range_ for method, _, range_ in self.asked if method == "GET"]


class Handler(BaseHTTPRequestHandler):
    site: Site

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, *, body: bool) -> None:
        site = self.site
        asked = self.headers.get("Range")
        site.asked.append((self.command, self.path, asked))
        if body and site.statuses and (status := site.statuses.pop(0)) != 200:
            self.send_error(status)
            return
        site.conditions.append(self.headers.get("If-Range"))
        content = site.files.get(self.path)
        if content is None:
            self.send_error(404)
            return
        start, total = 0, len(content)
        condition = self.headers.get("If-Range")
        fresh = condition in (None, site.etag, site.last_modified) or not site.honours_if_range
        if asked and site.ranges and fresh:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            if start >= total:
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{total}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        else:
            self.send_response(200)
        if site.etag:
            self.send_header("ETag", site.etag)
        if site.last_modified:
            self.send_header("Last-Modified", site.last_modified)
        if site.says_length:
            self.send_header("Content-Length", str(total - start))
        self.end_headers()
        if body:
            end = start + site.cuts.pop(0) if site.cuts else total
            with contextlib.suppress(ConnectionError):  # the client may have seen enough
                self.wfile.write(content[start:end])


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(download, "_BACKOFF_S", 0.01)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    state = Site(files={"/file": CONTENT})
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("SiteHandler", (Handler,), {"site": state}))
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield state
    server.shutdown()
    thread.join()
    server.server_close()


def left(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


# --- published checkpoints


@pytest.fixture
def zoo(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    digits = hashlib.sha256(CONTENT).hexdigest()[:8]
    site.files = {"/FCOS_R_50_FPN_1x.pth": CONTENT, f"/net-{digits}.pth": CONTENT}
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    for source in published.PLACES:
        monkeypatch.setitem(published.PLACES, source, site.url)
    for name, sha256 in (("right", digits), ("wrong", "01234567")):
        entry = published.Published("torchvision", f"net-{digits}.pth", sha256)
        monkeypatch.setitem(published.PUBLISHED, f"torchvision/{name}", entry)
    return site


def test_a_published_checkpoint_is_fetched_once(zoo: Site, tmp_path: Path) -> None:
    zoo.cuts = [100_000]  # the connection breaks, and is taken up
    file = published.checkpoint_file("official/FCOS_R_50_FPN_1x")
    assert file == tmp_path / "cache/fcos-lightning/checkpoints/official/FCOS_R_50_FPN_1x.pth"
    assert file.read_bytes() == CONTENT
    asked = len(zoo.asked)
    assert published.checkpoint_file("official/FCOS_R_50_FPN_1x") == file
    assert len(zoo.asked) == asked


def test_the_digits_in_a_name_are_checked(zoo: Site) -> None:
    assert published.checkpoint_file("torchvision/right").read_bytes() == CONTENT
    with pytest.raises(UserError, match="its sha256 is"):
        published.checkpoint_file("torchvision/wrong")


def test_without_a_server_the_place_of_the_file_is_named(zoo: Site) -> None:
    with pytest.raises(UserError, match=r"put the file of http.*_2x\.pth at .*FCOS_R_101_FPN_2x"):
        published.checkpoint_file("official/FCOS_R_101_FPN_2x")


def test_names_and_files(zoo: Site, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there are official/FCOS_imprv_R_50_FPN_1x"):
        published.checkpoint_file("official/FCOS_imprv_R50_FPN_1x")
    assert published.checkpoint_file("runs/best.ckpt") == Path("runs/best.ckpt")
    (tmp_path / "official").mkdir()
    (tmp_path / "official/FCOS_R_50_FPN_1x").touch()  # a file of the user's comes first
    assert published.checkpoint_file("official/FCOS_R_50_FPN_1x").stat().st_size == 0
    assert len(published.PUBLISHED) >= 15 + 12 + 7 + 1


# --- fetch


def test_fetch_and_skip(site: Site, tmp_path: Path) -> None:
    target = tmp_path / "new" / "file"
    for _ in range(2):
        assert fetch(f"{site.url}/file", target, md5=MD5, size=len(CONTENT)) == target
    assert target.read_bytes() == CONTENT
    assert left(tmp_path / "new") == ["file"]
    assert len(site.asked) == 1


def test_cut_connection_is_resumed_with_a_range(site: Site, tmp_path: Path) -> None:
    site.cuts = [300_000, 200_000]
    fetch(f"{site.url}/file", tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert site.ranges_asked == [None, "bytes=300000-", "bytes=500000-"]
    assert site.conditions == [None, '"one"', '"one"']
    assert left(tmp_path) == ["file"]


def test_a_later_call_resumes(site: Site, tmp_path: Path) -> None:
    site.cuts = [300_000, 0, 0, 0, 0, 0]
    with pytest.raises(UserError, match=r"keeps failing .*300\.0 kB are kept.*to go on"):
        fetch(f"{site.url}/file", tmp_path / "file")
    assert left(tmp_path) == ["file.part", "file.part.json"]
    before = len(site.asked)
    assert before == 6  # one and five retries: bounded
    fetch(f"{site.url}/file", tmp_path / "file", sha256=hashlib.sha256(CONTENT).hexdigest())
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert site.ranges_asked[before:] == ["bytes=300000-"]


def test_killed_before_the_rename(site: Site, tmp_path: Path) -> None:
    (tmp_path / "file.part").write_bytes(CONTENT)
    stamp = {"url": f"{site.url}/file", "etag": site.etag, "last_modified": None}
    (tmp_path / "file.part.json").write_text(json.dumps(stamp))
    fetch(f"{site.url}/file", tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert site.ranges_asked == [f"bytes={len(CONTENT)}-"]


@pytest.mark.parametrize("honours_if_range", [True, False])
@pytest.mark.parametrize("by", ["etag", "last_modified"])
def test_changed_file_starts_over(
    site: Site, tmp_path: Path, by: str, honours_if_range: bool
) -> None:
    site.etag = None
    setattr(site, by, '"one"' if by == "etag" else "Mon, 01 Jan 2024 00:00:00 GMT")
    site.cuts = [300_000, 0, 0, 0, 0, 0]
    with pytest.raises(UserError, match="keeps failing"):
        fetch(f"{site.url}/file", tmp_path / "file")
    setattr(site, by, '"two"' if by == "etag" else "Tue, 02 Jan 2024 00:00:00 GMT")
    site.honours_if_range = honours_if_range
    site.files["/file"] = CONTENT[::-1]
    fetch(f"{site.url}/file", tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT[::-1]


def test_file_that_became_shorter_starts_over(site: Site, tmp_path: Path) -> None:
    site.cuts = [300_000, 0, 0, 0, 0, 0]
    with pytest.raises(UserError, match="keeps failing"):
        fetch(f"{site.url}/file", tmp_path / "file")
    site.files["/file"] = b"short"
    fetch(f"{site.url}/file", tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b"short"


def test_without_a_validator_nothing_is_patched_together(site: Site, tmp_path: Path) -> None:
    site.etag = None
    site.cuts = [300_000]
    fetch(f"{site.url}/file", tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert site.ranges_asked == [None, None]


def test_weak_etag_is_no_validator(site: Site, tmp_path: Path) -> None:
    site.etag = 'W/"one"'
    site.cuts = [300_000]
    fetch(f"{site.url}/file", tmp_path / "file")
    assert site.ranges_asked == [None, None]


def test_part_of_another_address_is_not_used(site: Site, tmp_path: Path) -> None:
    (tmp_path / "file.part").write_bytes(b"x" * 1000)
    stamp = {"url": "http://elsewhere/file", "etag": site.etag, "last_modified": None}
    (tmp_path / "file.part.json").write_text(json.dumps(stamp))
    fetch(f"{site.url}/file", tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_wrong_beginning_is_found_by_the_checksum_and_mended(site: Site, tmp_path: Path) -> None:
    (tmp_path / "file.part").write_bytes(b"x" * 1000)
    fetch(f"{site.url}/file", tmp_path / "file", md5=MD5)
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert site.ranges_asked == ["bytes=1000-", None]


def test_server_without_ranges_starts_over(site: Site, tmp_path: Path) -> None:
    site.ranges = False
    site.cuts = [300_000]
    fetch(f"{site.url}/file", tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert site.ranges_asked == [None, "bytes=300000-"]


def test_server_that_does_not_say_the_length(site: Site, tmp_path: Path) -> None:
    site.says_length = False
    fetch(f"{site.url}/file", tmp_path / "file", md5=MD5)
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert remote_size(f"{site.url}/file") is None


@pytest.mark.parametrize("status", [429, 503])
def test_busy_server_is_asked_again(site: Site, tmp_path: Path, status: int) -> None:
    site.statuses = [status, status]
    fetch(f"{site.url}/file", tmp_path / "file", md5=MD5)
    assert len(site.asked) == 3


@pytest.mark.parametrize("status", [403, 404])
def test_refusal_is_final(site: Site, tmp_path: Path, status: int) -> None:
    site.statuses = [status]
    with pytest.raises(UserError, match=rf"the server answers {status}"):
        fetch(f"{site.url}/file", tmp_path / "file")
    assert len(site.asked) == 1
    assert left(tmp_path) == []


def test_nobody_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "_BACKOFF_S", 0.001)
    with pytest.raises(UserError, match="keeps failing") as caught:
        fetch("http://127.0.0.1:9/file", tmp_path / "file")
    assert "\n" not in str(caught.value)
    assert left(tmp_path) == []


def test_wrong_checksum_leaves_nothing(site: Site, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"md5 is {MD5} instead of {'0' * 32}"):
        fetch(f"{site.url}/file", tmp_path / "file", md5="0" * 32)
    with pytest.raises(UserError, match="sha256"):
        fetch(f"{site.url}/file", tmp_path / "file", md5=MD5, sha256="0" * 64)
    assert left(tmp_path) == []


def test_first_digits_of_a_checksum_are_enough(site: Site, tmp_path: Path) -> None:
    digits = hashlib.sha256(CONTENT).hexdigest()[:8]
    assert fetch(f"{site.url}/file", tmp_path / "file", sha256=digits).read_bytes() == CONTENT
    with pytest.raises(UserError, match="sha256"):
        fetch(f"{site.url}/file", tmp_path / "other", sha256="00000000")


def test_wrong_size_is_seen_before_the_download(site: Site, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="1048576 bytes on the server instead of 5"):
        fetch(f"{site.url}/file", tmp_path / "file", size=5)
    assert left(tmp_path) == []


def test_a_users_file_is_never_replaced(site: Site, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"mine")
    with pytest.raises(UserError, match="move it away"):
        fetch(f"{site.url}/file", tmp_path / "file", md5=MD5)
    assert (tmp_path / "file").read_bytes() == b"mine"
    assert site.asked == []


def test_full_disk_is_seen_before_the_download(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download.shutil, "disk_usage", lambda _: types.SimpleNamespace(free=1000))
    with pytest.raises(UserError, match=r"1\.0 kB free .* still needs 1\.0 MB"):
        fetch(f"{site.url}/file", tmp_path / "file")
    assert left(tmp_path) == []


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://host/file", "train2017.zip"])
def test_only_http(tmp_path: Path, url: str) -> None:
    with pytest.raises(UserError, match="only http and https"):
        fetch(url, tmp_path / "file")


@pytest.mark.skipif(sys.platform == "win32", reason="no locks")
def test_two_downloads_of_one_file_do_not_mix(site: Site, tmp_path: Path) -> None:
    import fcntl

    with (tmp_path / "file.part").open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        other.write(b"x")
        other.flush()
        with pytest.raises(UserError, match="another process"):
            fetch(f"{site.url}/file", tmp_path / "file")
    assert (tmp_path / "file.part").read_bytes() == b"x"


# --- unpack


def make_zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as opened:
        for name, content in members.items():
            opened.writestr(name, content)
    return path


def make_tar(path: Path, members: dict[str, bytes], *special: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as opened:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            opened.addfile(info, io.BytesIO(content))
        for info in special:
            opened.addfile(info)
    return path


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


# --- the scripts


def script(name: str) -> types.ModuleType:
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def coco(site: Site, tmp_path: Path) -> Site:
    build = tmp_path / "build"
    build.mkdir()
    for split in ("train2017", "val2017"):
        zipped = make_zip(build / "a.zip", {f"{split}/{i:012d}.jpg": b"jpeg" * 9 for i in range(3)})
        site.files[f"/zips/{split}.zip"] = zipped.read_bytes()
    lists = {f"annotations/instances_{s}2017.json": b"{}" for s in ("train", "val")}
    zipped = make_zip(build / "a.zip", lists)
    site.files["/annotations/annotations_trainval2017.zip"] = zipped.read_bytes()
    return site


@pytest.fixture
def voc(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    build = tmp_path / "build"
    build.mkdir()
    tiny = []
    for archive in public_sets.VOC:
        year, split = archive.split.split("-")
        below = f"VOCdevkit/VOC{year}"
        members = {
            f"{below}/ImageSets/Main/{split}.txt": b"000001\n",
            f"{below}/JPEGImages/{split}1.jpg": b"jpeg",
            f"{below}/Annotations/{split}1.xml": b"<annotation/>",
        }
        content = make_tar(build / "a.tar", members).read_bytes()
        site.files[f"/{archive.path}"] = content
        tiny.append(replace(archive, md5=hashlib.md5(content).hexdigest()))
    monkeypatch.setattr(public_sets, "VOC", tuple(tiny))
    return site


def run_coco(site: Site, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, SCRIPTS / "download_coco.py", *arguments, "--base-url", site.url],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_coco_full_road(coco: Site, tmp_path: Path) -> None:
    root = tmp_path / "coco"
    coco.cuts = [150]  # the first archive comes in two pieces
    end = run_coco(coco, str(root), "--splits", "train2017", "val2017")
    assert (end.returncode, end.stderr) == (0, "")
    assert f"fcos-train data=coco data.root={root}" in end.stdout
    assert coco.ranges_asked == [None, "bytes=150-", None, None]
    visible = [name for name in left(root) if not name.startswith(".")]
    images = [f"{s}/{i:012d}.jpg" for s in ("train2017", "val2017") for i in range(3)]
    folders = ["annotations", "train2017", "val2017"]
    lists = [f"annotations/instances_{s}2017.json" for s in ("train", "val")]
    assert visible == sorted([*folders, *lists, *images])
    asked = len(coco.asked)
    again = run_coco(coco, str(root), "--splits", "train2017", "val2017")
    assert again.returncode == 0
    assert again.stdout.count("already in") == 3
    assert len(coco.asked) == asked


def test_coco_of_ones_own_is_recognised(
    coco: Site,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    module = script("download_coco")
    small = [replace(a, images=2) if a.split == "val2017" else a for a in public_sets.COCO]
    monkeypatch.setattr(module, "COCO", small)
    (tmp_path / "coco" / "val2017").mkdir(parents=True)
    for name in "ab":
        (tmp_path / "coco" / "val2017" / f"{name}.jpg").touch()
    assert module.main([str(tmp_path / "coco"), "--base-url", coco.url, "--splits", "val2017"]) == 0
    assert "val2017: already in" in capsys.readouterr().out
    assert not any(path == "/zips/val2017.zip" for _, path, _ in coco.asked)


def test_coco_dry_run_touches_nothing(coco: Site, tmp_path: Path) -> None:
    end = run_coco(coco, str(tmp_path / "coco"), "--dry-run")
    assert end.returncode == 0
    assert not (tmp_path / "coco").exists()
    assert {method for method, _, _ in coco.asked} == {"HEAD"}
    for archive in public_sets.COCO:
        size = len(coco.files[f"/{archive.path}"])
        assert f"{coco.url}/{archive.path} ({size} bytes) into {tmp_path / 'coco'}" in end.stdout


def test_coco_error_is_one_line_and_status_2(coco: Site, tmp_path: Path) -> None:
    del coco.files["/zips/val2017.zip"]
    end = run_coco(coco, str(tmp_path / "coco"), "--splits", "val2017")
    assert end.returncode == 2
    assert end.stderr.startswith("error: cannot download")
    assert end.stderr.count("\n") == 1
    assert run_coco(coco, str(tmp_path / "coco"), "--splits", "val2018").returncode == 2


def test_coco_disk_too_small(
    coco: Site,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(
        public_sets.shutil, "disk_usage", lambda _: types.SimpleNamespace(free=1000)
    )
    module = script("download_coco")
    assert module.main([str(tmp_path / "coco"), "--base-url", coco.url]) == 2
    assert "1.0 kB free and about" in capsys.readouterr().err
    assert not (tmp_path / "coco").exists()


def test_coco_archive_of_another_layout(
    coco: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = make_zip(tmp_path / "a.zip", {"images/1.jpg": b"jpeg"}).read_bytes()
    right = coco.files["/zips/val2017.zip"]
    coco.files["/zips/val2017.zip"] = other
    module = script("download_coco")
    arguments = [str(tmp_path / "coco"), "--base-url", coco.url, "--splits", "val2017"]
    assert module.main(arguments) == 2
    assert "does not hold val2017" in capsys.readouterr().err
    coco.files["/zips/val2017.zip"] = right
    assert module.main(arguments) == 0
    assert len(list((tmp_path / "coco" / "val2017").iterdir())) == 3


def test_voc_full_road(voc: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "voc"
    module = script("download_voc")
    voc.cuts = [700]
    arguments = [str(root), "--base-url", voc.url, "--keep-archives"]
    assert module.main([*arguments, "--splits", *(a.split for a in public_sets.VOC)]) == 0
    assert voc.ranges_asked[:2] == [None, "bytes=700-"]
    kit = root / "VOCdevkit"
    assert left(kit / "VOC2007") == [
        "Annotations",
        "Annotations/test1.xml",
        "Annotations/trainval1.xml",
        "ImageSets",
        "ImageSets/Main",
        "ImageSets/Main/test.txt",
        "ImageSets/Main/trainval.txt",
        "JPEGImages",
        "JPEGImages/test1.jpg",
        "JPEGImages/trainval1.jpg",
    ]
    assert (kit / "VOC2012" / "JPEGImages" / "trainval1.jpg").is_file()
    assert len(list(root.glob("*.tar"))) == 3
    assert f"data=voc data.root={root}" in capsys.readouterr().out


def test_voc_archives_go_once_unpacked(voc: Site, tmp_path: Path) -> None:
    root = tmp_path / "voc"
    assert script("download_voc").main([str(root), "--base-url", voc.url]) == 0
    assert not list(root.glob("[!.]*.tar*"))
    assert not (root / "VOCdevkit" / "VOC2012").exists()
    assert not any("2012" in path for _, path, _ in voc.asked)


def test_voc_with_another_md5_is_refused(site: Site, tmp_path: Path) -> None:
    """The official sums, against an archive that is not the official one."""
    archive = make_tar(tmp_path / "a.tar", {"VOCdevkit/VOC2007/x": b"x"})
    site.files["/voc2007/VOCtrainval_06-Nov-2007.tar"] = archive.read_bytes()
    command = [sys.executable, SCRIPTS / "download_voc.py", tmp_path / "voc"]
    command += ["--base-url", site.url, "--splits", "2007-trainval"]
    end = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert end.returncode == 2
    assert "c52e279531787c972589f7e41ab4ae64" in end.stderr
    assert end.stderr.count("\n") == 1
    assert left(tmp_path / "voc") == []


def test_voc_sums_are_torchvisions() -> None:
    # Read, not imported: that would take seconds.
    spec = importlib.util.find_spec("torchvision")
    assert spec and spec.origin
    source = (Path(spec.origin).parent / "datasets" / "voc.py").read_text()
    known = dict(re.findall(r'"filename": "(.*)",\s+"md5": "(.*)"', source))
    for archive in public_sets.VOC:
        if archive.split != "2012-trainval":  # a second entry there repeats this file name
            assert known[archive.file_name] == archive.md5
        assert f'"{archive.md5}"' in source


def test_voc_dry_run_without_a_server_gives_rough_sizes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(tmp_path / "voc"), "--base-url", "http://127.0.0.1:9", "--dry-run"]
    assert script("download_voc").main(arguments) == 0
    out = capsys.readouterr().out
    assert "(460.0 MB)" in out
    assert "about 1.4 GB of disk space needed" in out
    assert left(tmp_path) == []
