"""An S3 server on this machine, which can be told to answer late, badly or not at all."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import BaseWSGIServer, make_server

#: What an answer becomes: given the request, and a call that asks the real server.
Fault = Callable[[dict[str, Any], Callable[[], "Answer"]], "Answer"]


class Answer:
    """Status, headers and body.

    Args:
        status: as ``200 OK``.
        headers: names with values.
        body: bytes.
    """

    def __init__(self, status: str, headers: list[tuple[str, str]], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body


class ObjectStorage:
    """The server, with a fault to put in its way.

    Attributes:
        fault: changes answers; None: they are as they are.
        asked: method and path of every request since it was emptied.
    """

    def __init__(self) -> None:
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._moto = DomainDispatcherApplication(create_backend_app)
        self.fault: Fault | None = None
        self.asked: list[str] = []
        self._server: BaseWSGIServer | None = None
        self.port = 0
        self.start()

    @property
    def endpoint(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Listen, on the same port as before."""
        self._server = make_server("127.0.0.1", self.port, self._answer, threaded=True)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """Be gone; what is stored stays."""
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()
        self._server = None

    def stop_for(self, seconds: float) -> threading.Timer:
        """Be gone for a while."""
        self.stop()
        timer = threading.Timer(seconds, self.start)
        timer.start()
        return timer

    def close(self) -> None:
        """End, and forget what was stored, which the next server of this process would have."""
        if self._server is None:
            self.start()
        self.fault = None
        reset = Request(f"{self.endpoint}/moto-api/reset", method="POST")
        with urlopen(reset) as answer:
            answer.read()
        self.stop()

    def _answer(self, request: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        self.asked.append(f"{request['REQUEST_METHOD']} {request['PATH_INFO']}")

        def ask() -> Answer:
            said: list[Any] = []
            parts = self._moto(request, lambda status, headers, *_: said.extend((status, headers)))
            body = b"".join(parts)
            return Answer(said[0], said[1], body)

        answer = ask() if self.fault is None else self.fault(request, ask)
        start(answer.status, answer.headers)
        return [answer.body]


def busy(times: int) -> Fault:
    """Return 503 for the first requests."""
    left = [times]

    def fault(request: dict[str, Any], ask: Callable[[], Answer]) -> Answer:
        if left[0] > 0:
            left[0] -= 1
            body = (
                b"<Error><Code>SlowDown</Code><Message>Reduce your request rate</Message></Error>"
            )
            headers = [("Content-Length", str(len(body))), ("Content-Type", "application/xml")]
            return Answer("503 Slow Down", headers, body)
        return ask()

    return fault


def cut_short(times: int) -> Fault:
    """Send half of the first bodies of shards, and close."""
    left = [times]

    def fault(request: dict[str, Any], ask: Callable[[], Answer]) -> Answer:
        answer = ask()
        is_shard = request["PATH_INFO"].endswith(".tar") and request["REQUEST_METHOD"] == "GET"
        if is_shard and left[0] > 0:
            left[0] -= 1
            answer.body = answer.body[: len(answer.body) // 2]
        return answer

    return fault


def late(seconds: float) -> Fault:
    """Answer late."""

    def fault(request: dict[str, Any], ask: Callable[[], Answer]) -> Answer:
        time.sleep(seconds)
        return ask()

    return fault


@contextmanager
def object_storage(bucket: str = "bucket") -> Iterator[ObjectStorage]:
    """Run a server with an empty bucket, which s3:// leads to meanwhile."""
    import s3fs

    served = ObjectStorage()
    with pytest.MonkeyPatch.context() as patch:
        for key, value in {
            "AWS_ENDPOINT_URL": served.endpoint,
            "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
            "AWS_SECRET_ACCESS_KEY": "a-secret-that-must-not-be-seen",
            "AWS_DEFAULT_REGION": "us-east-1",
        }.items():
            patch.setenv(key, value)
        s3fs.S3FileSystem.clear_instance_cache()
        s3fs.S3FileSystem().mkdir(bucket)
        try:
            yield served
        finally:
            served.close()
            s3fs.S3FileSystem.clear_instance_cache()


def put(address: str, content: bytes) -> None:
    """Store an object."""
    import s3fs

    s3fs.S3FileSystem().pipe_file(address, content)


def upload(folder: Path, address: str) -> None:
    """Store all files of a folder below an address, in place of what is there."""
    import s3fs

    system = s3fs.S3FileSystem()
    if system.exists(address):
        system.rm(address, recursive=True)
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            put(f"{address}/{file.relative_to(folder).as_posix()}", file.read_bytes())
