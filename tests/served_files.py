"""A web server on this machine that misbehaves as told, and archives for it to hand out."""

from __future__ import annotations

import contextlib
import hashlib
import io
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from fcos_lightning.storage import download

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
