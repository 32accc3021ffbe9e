from __future__ import annotations

import hashlib
import json
import socket
import sys
import types
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO

import pytest
from tests.served_files import CONTENT, MD5, Site, left

from fcos_lightning.errors import UserError
from fcos_lightning.storage import download
from fcos_lightning.storage.download import fetch, remote_size


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


def test_an_unknown_host_is_given_up_after_a_short_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[str] = []

    def no_address(host: str, *_: object, **__: object) -> object:
        asked.append(host)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    pauses: list[float] = []
    monkeypatch.setattr(socket, "getaddrinfo", no_address)
    monkeypatch.setattr(download.time, "sleep", pauses.append)
    monkeypatch.setenv("no_proxy", "*")
    with pytest.raises(UserError, match=r"nowhere\.example/file keeps failing .*name resolution"):
        fetch("http://nowhere.example/file", tmp_path / "file")
    assert len(asked) == 2 and sum(pauses) <= 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("nowhere.example: ") and line.endswith("; trying again in 1 s")


def test_each_further_try_is_announced(
    site: Site,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(download, "_BACKOFF_S", 1.0)
    monkeypatch.setattr(download.time, "sleep", lambda _: None)
    site.statuses = [503, 503]
    fetch(f"{site.url}/file", tmp_path / "file")
    lines = capsys.readouterr().err.splitlines()
    assert [line.split("; ")[1] for line in lines] == [
        "trying again in 1 s",
        "trying again in 2 s",
    ]


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


def test_what_another_process_downloaded_before_this_one_held_the_part_is_taken(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, target = download.locked, tmp_path / "file"

    def late(file: IO[bytes], path: Path) -> AbstractContextManager[None]:
        """Between the opening of the part and its lock, the other process comes to its end."""
        monkeypatch.setattr(download, "locked", held)
        path.write_bytes(CONTENT)
        path.rename(target)
        return held(file, path)

    monkeypatch.setattr(download, "locked", late)
    assert fetch(f"{site.url}/file", target, md5=MD5, size=len(CONTENT)) == target
    assert target.read_bytes() == CONTENT
    assert left(tmp_path) == ["file"] and site.asked == []
