"""Clients of a real server that send nothing, too little, too late, or go away."""

from __future__ import annotations

import inspect
import json
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pytest
import torch
from tests.serving.talking import FakePredictor, png, served, service_of
from uvicorn.protocols.http.h11_impl import H11Protocol

from fcos_lightning.inference.prepared import Prepared
from fcos_lightning.serving import slow_clients
from fcos_lightning.structures import Detections


def connected(port: int, *sent: bytes) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port), timeout=10)
    for one in sent:
        client.sendall(one)
    return client


def everything(client: socket.socket) -> bytes:
    """What comes until the server closes the connection."""
    got = b""
    while more := client.recv(65536):
        got += more
    return got


def head(length: int, *lines: str) -> bytes:
    more = "".join(f"{line}\r\n" for line in lines)
    return (
        f"POST /detect HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n{more}\r\n"
    ).encode()


def status(answer: bytes) -> int:
    return int(answer.split()[1])


LIMIT = {"timeout_s": 0.5}


@pytest.mark.parametrize(
    "sent",
    [b"", b"P", b"POST /detect HTTP/1.1\r\nHost: local", head(10)[:-2]],
)
def test_a_head_that_does_not_end_is_cut(sent: bytes) -> None:
    with served(service_of(limits=LIMIT), 0.5) as port, connected(port, sent) as client:
        began = time.monotonic()
        answer = everything(client)
        assert status(answer) == 408 and time.monotonic() - began < 5
        assert set(json.loads(answer.split(b"\r\n\r\n")[1])) == {"error"}


def test_a_head_that_drips_is_cut_in_the_same_time() -> None:
    with served(service_of(limits=LIMIT), 0.5) as port, connected(port) as client:
        began = time.monotonic()
        with pytest.raises(OSError):  # the server has closed it
            for letter in head(10)[:60].decode():
                client.sendall(letter.encode())
                time.sleep(0.05)
            client.sendall(b"x")
            raise AssertionError(f"open after {time.monotonic() - began} s")


def test_a_second_head_on_a_connection_is_bounded_like_the_first() -> None:
    ask = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with served(service_of(limits=LIMIT), 0.5) as port, connected(port, ask) as client:
        assert status(client.recv(65536)) == 200
        client.sendall(b"GET /hea")
        assert status(everything(client)) == 408


def test_a_body_that_does_not_come_is_cut() -> None:
    with served(service_of(limits=LIMIT), 0.5) as port, connected(port, head(10), b"abc") as client:
        assert status(everything(client)) == 408


def test_a_refused_body_is_passed_over_for_a_while_only() -> None:
    """Closing at once would lose the answer, and reading for ever the connection."""
    service = service_of(limits={**LIMIT, "max_bytes": 100})
    with served(service, 0.5) as port, connected(port, head(10**9)) as client:
        began, answer = time.monotonic(), b""
        try:
            while time.monotonic() - began < 10:
                client.sendall(b"x" * 10_000)
                time.sleep(0.02)
                client.setblocking(False)
                with suppress(BlockingIOError):
                    answer += client.recv(65536)
                client.settimeout(10)
        except OSError:
            pass
        assert status(answer) == 413 and time.monotonic() - began < 8


def test_what_is_no_http_is_refused() -> None:
    with served(service_of(), 5) as port:
        for sent in (
            *(b"\0" * 100, b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\x16\x03\x01" + b"a" * 200),
            *(b"GET / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 70_000),
            b"POST /detect HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
            b"POST /detect HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n"
            b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        ):
            with connected(port, sent + b"\r\n") as client:
                assert status(everything(client)) == 400, sent


def test_a_client_that_closes_its_connection_leaves_its_place() -> None:
    predictor = FakePredictor()
    predictor.may_go_on.clear()
    service = service_of(predictor, {"queue": 2})
    with served(service, 20) as port:
        content = png(value=1)
        stays = connected(port, head(len(content)), content)
        goes = connected(port, head(len(content)), content)
        end = time.monotonic() + 10
        while service.line.taken < 2:
            assert time.monotonic() < end
            time.sleep(0.01)
        goes.close()
        while service.line.taken == 2:
            assert time.monotonic() < end
            time.sleep(0.01)
        predictor.may_go_on.set()
        assert status(stays.recv(65536)) == 200
        stays.close()


def test_a_client_that_does_not_read_is_let_go() -> None:
    class Many(FakePredictor):
        def detected(self, images: Sequence[Prepared]) -> list[Detections]:
            boxes = torch.rand(100_000, 4)
            return [Detections(boxes, boxes[:, 0], boxes[:, 0].long())] * len(images)

    content = png()
    with served(service_of(Many(), LIMIT), 0.5) as port:
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", port))
        client.sendall(head(len(content)) + content)
        time.sleep(2.5)  # far more than the buffers of both sides hold is on its way
        client.settimeout(10)
        with pytest.raises(ConnectionError):
            while client.recv(65536):
                pass
            raise ConnectionError("closed before its end")
        client.close()


def test_connections_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slow_clients, "MOST_CONNECTIONS", 3)
    with served(service_of(limits=LIMIT), 2.0) as port:
        idle = [connected(port) for _ in range(3)]
        time.sleep(0.1)
        with connected(port) as client:
            answer = everything(client)
            assert status(answer) == 429 and b"Retry-After: 1" in answer
        for one in idle:
            one.close()
        time.sleep(0.1)
        with connected(port, b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n") as client:
            assert status(everything(client)) == 200


def test_100_continue_is_said_to_those_that_may_send() -> None:
    content = png()
    with served(service_of(limits={"max_bytes": 1000}), 5) as port:
        with connected(port, head(len(content), "Expect: 100-continue")) as client:
            assert status(client.recv(65536)) == 100
            client.sendall(content)
            assert status(client.recv(65536)) == 200
        with connected(port, head(1001, "Expect: 100-continue")) as client:
            assert status(client.recv(65536)) == 413


#: What of uvicorn's protocol is relied on, which it does not promise.
RELIED_ON = (
    *("connection_made", "data_received", "on_response_complete", "connection_lost"),
    *("send_400_response", "pause_writing", "resume_writing"),
)


@pytest.mark.parametrize("name", RELIED_ON)
def test_uvicorns_protocol_has_what_is_relied_on(name: str) -> None:
    assert inspect.isfunction(getattr(H11Protocol, name))


def test_uvicorns_protocol_keeps_what_is_relied_on() -> None:
    names: Any = H11Protocol.__init__.__code__.co_names
    assert {"conn", "cycle", "transport", "loop", "connections"} <= set(names)
