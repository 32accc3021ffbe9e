"""One object a line, whatever a client sends, and however slowly it is read."""

from __future__ import annotations

import io
import json
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from tests.serving.talking import FakePredictor, png, service_of, talk

from fcos_lightning.serving.access import Access
from fcos_lightning.serving.json_log import LOG, JsonLog, tell


@contextmanager
def lines() -> Iterator[list[dict[str, Any]]]:
    out, told = io.StringIO(), []
    with JsonLog(out):
        yield told
    for line in out.getvalue().splitlines():
        assert line.isascii() and line.isprintable()
        told.append(json.loads(line))


def test_a_request_is_one_line() -> None:
    with lines() as told:
        talk(service_of(), lambda client: client.post("/detect", content=png()))
    (line,) = told
    assert line["event"] == "request" and line["method"] == "POST" and line["path"] == "/detect"
    assert line["status"] == 200 and line["bytes"] == len(png()) and line["detections"] == 1
    assert line["ms"] > 0 and line["level"] == "info" and line["time"].endswith("+00:00")


def test_what_a_client_sends_is_escaped_and_cut() -> None:
    nasty = "/%1b%5b2J%0a%7b%22level%22:%22x%22%7d%e2%80%ae" + "a" * 5000

    async def conversation(client: httpx.AsyncClient) -> None:
        await client.get(nasty, headers={"user-agent": "\x1b[2J"})

    with lines() as told:
        talk(service_of(), conversation)
    (line,) = told
    assert line["status"] == 404 and len(line["path"]) < 300
    assert "\\x1b[2J\\n" in line["path"] and "\\u202e" in line["path"]


def test_no_line_holds_a_token_or_a_query() -> None:
    async def conversation(client: httpx.AsyncClient) -> None:
        for headers in ({"authorization": "Bearer s3cret"}, {"authorization": "Bearer w0rd"}):
            await client.post("/detect?token=s3cret", content=png(), headers=headers)

    with lines() as told:
        talk(service_of(access=Access("127.0.0.1", "s3cret")), conversation)
    assert [line["status"] for line in told] == [422, 401]
    assert "s3cret" not in str(told) and "w0rd" not in str(told)


def test_a_fault_is_one_line_too() -> None:
    broken = FakePredictor()
    broken.padded_hw = None  # type: ignore[assignment,method-assign]
    with lines() as told:
        answer = talk(service_of(broken), lambda client: client.post("/detect", content=png()))
    assert answer.status_code == 500 and set(answer.json()) == {"error"}
    fault, request = told
    assert fault["level"] == "error" and fault["error"].startswith("TypeError")
    assert "padded_hw" in fault["traceback"] and request["status"] == 500


def test_a_reader_that_has_gone_disturbs_nobody(capfd: pytest.CaptureFixture[str]) -> None:
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError(32, "Broken pipe")

    with JsonLog(Closed()):
        tell(logging.INFO, "request")
        assert talk(service_of(), lambda client: client.get("/healthz")).status_code == 200
    assert capfd.readouterr() == ("", "")


def test_a_reader_that_stands_still_delays_nobody() -> None:
    lost = 0

    def count() -> None:
        nonlocal lost
        lost += 1

    class Stuck(io.StringIO):
        may_go_on = threading.Event()

        def write(self, text: str) -> int:
            self.may_go_on.wait(20)
            return super().write(text)

    out, began = Stuck(), time.monotonic()
    with JsonLog(out, count):
        for number in range(10_500):
            tell(logging.INFO, "request", number=number)
        assert time.monotonic() - began < 10
        out.may_go_on.set()
    assert lost > 400
    assert len(out.getvalue().splitlines()) == 10_500 - lost


def test_what_libraries_say_is_a_line_as_well() -> None:
    with lines() as told:
        logging.getLogger("PIL.TiffImagePlugin").warning("odd \x1b[2J tag")
        logging.getLogger("PIL.TiffImagePlugin").info("not told")
        form = {"content-type": "multipart/form-data"}
        talk(service_of(), lambda client: client.post("/detect", content=b"", headers=form))
    assert [line["event"] for line in told] == ["odd \\x1b[2J tag", "request"]


def test_afterwards_logging_is_as_it_was() -> None:
    loggers = [LOG, logging.getLogger(), logging.getLogger("uvicorn")]
    before = [(one.level, list(one.handlers)) for one in loggers]
    with JsonLog(io.StringIO()):
        assert [(one.level, list(one.handlers)) for one in loggers] != before
    assert [(one.level, list(one.handlers)) for one in loggers] == before
