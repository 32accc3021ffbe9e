"""From the socket to the end: what a signal does to those that wait."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator

import pytest
from tests.serving.talking import FakePredictor, png, service_of

from fcos_lightning.errors import UserError
from fcos_lightning.serving import server
from fcos_lightning.serving.application import Service
from fcos_lightning.serving.server import address_of, bound_socket, exit_status, serve
from fcos_lightning.signals import STOPPING, stopped_in_one_line


@pytest.fixture(autouse=True)
def interruptible() -> Iterator[None]:
    """A background shell hands on SIGINT as ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class Clients:
    """Ask a server from threads of their own, and keep its answers."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.answers: dict[str, tuple[int, str]] = {}
        self._threads: list[threading.Thread] = []

    def ask(self, name: str, path: str, content: bytes | None = None) -> None:
        def run() -> None:
            try:
                with urllib.request.urlopen(self.address + path, content, timeout=20) as answer:
                    self.answers[name] = answer.status, answer.read().decode()
            except urllib.error.HTTPError as error:
                self.answers[name] = error.code, error.read().decode()

        thread = threading.Thread(target=run)
        thread.start()
        self._threads.append(thread)

    def wait(self) -> None:
        for thread in self._threads:
            thread.join(20)


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def run_while(service: Service, script: Callable[[Clients], None]) -> int:
    """Serve in the main thread, as the command does, while a script runs beside it."""
    listener = bound_socket("127.0.0.1", 0)
    clients = Clients(address_of(listener))
    beside = threading.Thread(target=script, args=(clients,))
    beside.start()
    with stopped_in_one_line():
        asked = serve(service, listener, 5.0)
    beside.join(20)
    clients.wait()
    return asked


@pytest.mark.parametrize("signum", STOPPING)
def test_what_was_taken_on_is_answered_and_nothing_more(
    signum: int, capsys: pytest.CaptureFixture[str]
) -> None:
    predictor = FakePredictor()
    predictor.may_go_on.clear()
    service = service_of(predictor)
    answers: dict[str, tuple[int, str]] = {}

    def script(clients: Clients) -> None:
        clients.ask("first", "detect", png(value=1))
        until(lambda: bool(predictor.batches))
        clients.ask("second", "detect", png(value=2))
        until(lambda: service.line.taken == 2)
        os.kill(os.getpid(), signum)
        until(lambda: service.stopping)
        clients.ask("late", "detect", png(value=3))
        clients.ask("health", "healthz")
        until(lambda: len(clients.answers) == 2)
        predictor.may_go_on.set()
        clients.wait()
        answers.update(clients.answers)

    assert run_while(service, script) == signum
    assert {name: status for name, (status, _) in answers.items()} == {
        "first": 200,
        "second": 200,
        "late": 503,
        "health": 503,
    }
    assert predictor.batches == [[1], [2]] and service.has_ended()
    events = [json.loads(line)["event"] for line in capsys.readouterr().out.splitlines()]
    # Clients are let in before the log says so, and may be done by then.
    assert set(events) - {"ready"} >= {"stopping", "stopped"} and events[-1] == "stopped"


def test_a_server_that_is_asked_to_stop_ends_well() -> None:
    statuses = {signal.Signals(one).name: exit_status(one) for one in STOPPING}
    assert statuses == {"SIGINT": 130, "SIGTERM": 0, "SIGUSR1": 128 + signal.SIGUSR1}


def test_a_detector_that_hangs_does_not_keep_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    class Left(BaseException):
        pass

    def leave(status: int) -> None:
        raise Left(status)

    monkeypatch.setattr(server.os, "_exit", leave)  # type: ignore[attr-defined]
    monkeypatch.setattr(server, "_SENDING_S", 0.1)
    monkeypatch.setattr(server, "_ENDING_S", 0.1)
    predictor = FakePredictor()
    predictor.may_go_on.clear()
    service = service_of(predictor, {"timeout_s": 0.5})
    listener = bound_socket("127.0.0.1", 0)
    clients = Clients(address_of(listener))

    def script() -> None:
        clients.ask("first", "detect", png())
        until(lambda: bool(predictor.batches))
        os.kill(os.getpid(), signal.SIGTERM)

    beside = threading.Thread(target=script)
    beside.start()
    began = time.monotonic()
    with pytest.raises(Left) as left, stopped_in_one_line():
        serve(service, listener, 0.5)
    assert left.value.args == (0,) and time.monotonic() - began < 10
    predictor.may_go_on.set()
    beside.join(20)
    clients.wait()
    assert clients.answers["first"][0] == 503


def test_a_port_that_is_taken_is_said() -> None:
    with bound_socket("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(UserError, match=rf"port={port}: .*in use; give another port="):
            bound_socket("127.0.0.1", port)


@pytest.mark.parametrize("port", [-1, 65536, True])
def test_a_port_that_is_none_is_said(port: int) -> None:
    with pytest.raises(UserError, match="give 0 to 65535"):
        bound_socket("127.0.0.1", port)


@pytest.mark.parametrize("host", ["no.such.host.invalid", "", "a" * 300, "1.2.3", "\0"])
def test_a_host_that_is_none_is_said(host: str) -> None:
    with pytest.raises(UserError, match="host="), bound_socket(host, 0):
        pass


def test_addresses_are_written_as_browsers_take_them() -> None:
    with bound_socket("127.0.0.1", 0) as listener:
        assert address_of(listener) == f"http://127.0.0.1:{listener.getsockname()[1]}/"
    if socket.has_ipv6:
        with bound_socket("::1", 0) as listener:
            assert address_of(listener).startswith("http://[::1]:")
