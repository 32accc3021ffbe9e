"""One line says why a run of several processes ended, from the process that knows it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from fcos_lightning.errors import SharedError, UserError
from fcos_lightning.signals import Stopped
from fcos_lightning.training.ranks import other_ranks as module
from fcos_lightning.training.ranks.other_ranks import LostRank, together

LOST = RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:1")


@pytest.fixture
def first() -> Iterator[Any]:
    """Rank 0 of two, whose other process is a real one, of any kind."""
    trainer = SimpleNamespace(world_size=2, global_rank=0, strategy=SimpleNamespace(launcher=None))
    yield trainer
    module.end_started()
    module._started.clear()


def other(code: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-c", code])
    module._started[:] = [process]
    return process


def raised(trainer: Any, error: BaseException) -> BaseException:
    with pytest.raises(BaseException) as caught, together(trainer):
        raise error
    return caught.value


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import os; os.kill(os.getpid(), 9)", "rank 1 of the run was ended by SIGKILL, perhaps"),
        ("import os; os.kill(os.getpid(), 11)", "rank 1 of the run was ended by SIGSEGV"),
        ("raise SystemExit(143)", "rank 1 of the run was ended by SIGTERM"),
        ("raise SystemExit(1)", "rank 1 of the run ended with status 1; what it printed says why"),
        ("", "rank 1 of the run ended with status 0"),
    ],
)
def test_a_rank_that_is_lost_is_named(first: Any, code: str, said: str) -> None:
    other(code)
    found = raised(first, LOST)
    assert isinstance(found, LostRank) and str(found).startswith(said)


def test_who_has_said_why_is_not_spoken_for(first: Any) -> None:
    other("raise SystemExit(2)")
    found = raised(first, LOST)
    assert isinstance(found, SystemExit) and found.code == 2


def test_a_rank_that_gives_no_cause(first: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PATIENCE_S", 0.5)
    process = other("import time; time.sleep(60)")
    found = raised(first, LOST)
    assert isinstance(found, LostRank) and "lost contact with another rank" in str(found)
    assert process.poll() == -signal.SIGKILL


@pytest.mark.parametrize(
    "error", [UserError("an image"), RuntimeError("shapes"), KeyboardInterrupt()]
)
def test_whose_own_the_cause_is_ends_the_others(first: Any, error: BaseException) -> None:
    process = other("import time; time.sleep(60)")
    assert raised(first, error) is error
    assert process.poll() == -signal.SIGKILL


@pytest.mark.parametrize("error", [Stopped(15), SharedError("on all")])
def test_what_all_do_together_ends_nobody(first: Any, error: BaseException) -> None:
    process = other("import time; time.sleep(60)")
    assert raised(first, error) is error
    assert process.poll() is None


def test_a_port_that_another_program_uses(first: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASTER_PORT", "29500")
    used = RuntimeError("gloo: The server socket has failed to listen. name: EADDRINUSE")
    assert "MASTER_PORT=29500: another program uses this port" in str(raised(first, used))


_HANGS = """
import os, subprocess, sys, threading, time
from types import SimpleNamespace
from fcos_lightning.training.ranks import other_ranks as module
module._PATIENCE_S = 0.5
rank = int(os.environ["LOCAL_RANK"])
if rank == 0:
    killed = [sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"]
    module._started[:] = [subprocess.Popen(killed)]
trainer = SimpleNamespace(world_size=3, global_rank=rank, strategy=SimpleNamespace(launcher=None))
with module.together(trainer):
    if rank:
        (watch,) = (one for one in threading.enumerate() if one.name == "other ranks")
        watch._parent = -1  # it is another's child by now
    time.sleep(60)  # as a GPU waits for another
"""


@pytest.mark.parametrize(
    ("rank", "said"),
    [
        ("0", "error: rank 1 of the run was ended by SIGKILL, perhaps for want of memory\n"),
        ("1", "error: rank 0 of the run was ended from outside, perhaps for want of memory\n"),
        ("2", ""),  # one of them is enough
    ],
)
def test_a_rank_that_waits_for_one_that_is_gone_is_ended(rank: str, said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _HANGS],
        env={**os.environ, "LOCAL_RANK": rank},
        capture_output=True,
        text=True,
        timeout=55,
        check=False,
    )
    assert (done.returncode, done.stderr) == (2, said)


def test_alone_nothing_is_watched() -> None:
    alone: Any = SimpleNamespace(world_size=1)
    assert raised(alone, LOST) is LOST


_LEAVES = """
import os
from types import SimpleNamespace
from fcos_lightning.training.ranks.other_ranks import together
trainer = SimpleNamespace(
    world_size={size}, global_rank=0, strategy=SimpleNamespace(launcher=None)
)
with together(trainer):
    if os.fork() == 0:
        os._exit(0)  # as a loader process does at its end
    assert os.wait()[1] == 0
    {inside}
os._exit(0)
"""


@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize(
    ("inside", "status", "said"),
    [
        ("os._exit(0)", 1, "error: os._exit(0) was called in the middle of the run\n"),
        ("os._exit(9)", 9, ""),
        ("pass", 0, ""),
    ],
)
def test_a_process_that_leaves_in_the_middle_does_not_end_as_if_done(
    size: int, inside: str, status: int, said: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _LEAVES.format(size=size, inside=inside)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (status, said)
