import importlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fcos_lightning.signals import STOPPING, Asked, heed_parent_only, stopped_in_one_line


@pytest.fixture(autouse=True)
def interruptible() -> Iterator[None]:
    """A background shell hands on SIGINT as ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("signum", STOPPING)
def test_a_command_that_is_asked_to_stop_says_so_in_one_line(
    signum: int, capsys: pytest.CaptureFixture[str]
) -> None:
    handlers = [signal.getsignal(one) for one in STOPPING]
    taken_back = False
    with pytest.raises(SystemExit) as ended, stopped_in_one_line():
        try:
            os.kill(os.getpid(), signum)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)  # told again while it takes back what it began
            taken_back = True
    assert ended.value.code == 128 + signum and taken_back
    assert capsys.readouterr().err == f"stopped by {signal.Signals(signum).name}\n"
    assert [signal.getsignal(one) for one in STOPPING] == handlers


def test_nothing_that_catches_errors_catches_it(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended, stopped_in_one_line(lambda: False):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except (Exception, KeyboardInterrupt, SystemExit):
            pytest.fail("caught")
    assert ended.value.code == 128 + signal.SIGTERM and capsys.readouterr().err == ""
    assert not issubclass(Asked, KeyboardInterrupt)  # Lightning makes status 1 of that


def test_what_is_ignored_stays_so() -> None:
    """As Ctrl-C is behind nohup."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stopped_in_one_line():
            os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("signum", STOPPING)
def test_a_fork_that_heeds_nobody_yet_says_nothing(signum: int) -> None:
    """A loader process, between its start and ``heed_parent_only``."""
    with stopped_in_one_line():
        child = os.fork()
        if child == 0:
            try:
                os.kill(os.getpid(), signum)
                os._exit(3)
            except BaseException:
                os._exit(4)
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert ended == (0 if signum == signal.SIGTERM else 3)


@pytest.mark.skipif(not hasattr(signal, "sigwaitinfo"), reason="the system does not name senders")
def test_a_loader_process_heeds_its_parent_alone() -> None:
    child = os.fork()
    if child == 0:
        heed_parent_only()
        other = os.fork()
        if other == 0:  # not the parent
            time.sleep(0.2)
            for name in ("SIGTERM", "SIGINT", "SIGUSR1"):
                os.kill(os.getppid(), getattr(signal, name))
            os._exit(0)
        time.sleep(30)
        os._exit(5)
    time.sleep(0.8)
    assert os.waitpid(child, os.WNOHANG) == (0, 0)  # still there
    os.kill(child, signal.SIGTERM)
    until = time.monotonic() + 10
    status = (0, 0)
    while status == (0, 0) and time.monotonic() < until:
        time.sleep(0.05)
        status = os.waitpid(child, os.WNOHANG)
    assert status == (child, 0)


def test_an_import_is_not_interrupted_in_the_midst(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else what tidies up may import the half of it again, and torch then crashes."""
    name = "imported_while_asked"
    (tmp_path / f"{name}.py").write_text(
        "import os, signal, time\n"
        "os.kill(os.getpid(), signal.SIGINT)\n"
        "time.sleep(0.2)\n"
        "whole = True\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    reached = []
    with pytest.raises(SystemExit) as stop, stopped_in_one_line():
        module = importlib.import_module(name)
        reached.append(module.whole)
        time.sleep(10)
        reached.append("too late")
    sys.modules.pop(name)
    assert stop.value.code == 130 and reached in ([True], [])
    assert capsys.readouterr().err == "stopped by SIGINT\n"


def test_signals_are_answered_inside_of_an_import_that_a_run_is_started_by(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "a_script_that_trains"
    (tmp_path / f"{name}.py").write_text(
        "import os, signal, time\n"
        "from fcos_lightning.signals import stopped_in_one_line\n"
        "with stopped_in_one_line():\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    time.sleep(10)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    began = time.monotonic()
    with pytest.raises(SystemExit) as stop:
        importlib.import_module(name)
    assert stop.value.code == 130 and time.monotonic() - began < 9


@pytest.mark.parametrize("signum", STOPPING)
def test_a_signal_put_off_is_answered_at_the_end_at_the_latest(
    signum: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And never comes to whoever answers afterwards, which may be nobody."""
    name = "asked_at_its_end"
    (tmp_path / f"{name}.py").write_text(f"import os\nos.kill(os.getpid(), {int(signum)})\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    late: list[int] = []
    before = signal.signal(signum, lambda number, _: late.append(number))
    try:
        with pytest.raises(SystemExit) as stop, stopped_in_one_line():
            importlib.import_module(name)
        sys.modules.pop(name)
        time.sleep(0.2)
    finally:
        signal.signal(signum, before)
    assert stop.value.code == 128 + signum and late == []
    assert capsys.readouterr().err == f"stopped by {signal.Signals(signum).name}\n"
