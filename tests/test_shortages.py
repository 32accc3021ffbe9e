"""What the system refuses is one line that says what to do."""

from __future__ import annotations

import errno
import os
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from fcos_lightning.errors import UserError
from fcos_lightning.shortages import shortage


def told(error: BaseException) -> str:
    said = shortage(error)
    assert said is not None, error
    assert "\n" not in str(said) and len(str(said)) < 400
    return str(said)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "cannot write /runs/x: No space left on device; free the place"),
        (errno.EDQUOT, "cannot write /runs/x: "),
        (errno.EFBIG, "cannot write /runs/x: "),
        (errno.EROFS, "cannot write /runs/x: Read-only file system"),
        (errno.EACCES, "/runs/x: Permission denied; let this user read and write it"),
        (errno.EPERM, "/runs/x: Operation not permitted"),
        (errno.EMFILE, "too many open files"),
        (errno.ENFILE, "too many open files"),
        (errno.ENOMEM, "out of memory"),
        (errno.EAGAIN, "the system starts no more processes"),
    ],
)
def test_what_the_system_refuses(number: int, words: str) -> None:
    assert told(OSError(number, os.strerror(number), "/runs/x")).startswith(words)
    if number in (errno.ENOSPC, errno.EACCES):  # as torch hands it on from a loader process
        text = f"Caught OSError in DataLoader worker process 0.\nOSError: [Errno {number}] x: '/y'"
        assert told(OSError(text))


def test_other_errors_stay_what_they_are() -> None:
    for error in (ValueError("x"), RuntimeError("shapes do not fit"), FileNotFoundError(2, "x")):
        assert shortage(error) is None
    own = UserError("said already")
    assert shortage(own) is own


@pytest.fixture
def little_memory() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 2**28, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.usefixtures("little_memory")
def test_no_memory() -> None:
    with pytest.raises(MemoryError) as python:
        bytearray(2**30)
    with pytest.raises(RuntimeError) as of_torch:
        torch.empty(2**30, dtype=torch.uint8)
    for caught in (python, of_torch):
        assert told(caught.value).startswith("out of memory; lower data.batch_size")


class _Killed(Dataset[int]):
    """The system ends who reads the second image, as for want of memory."""

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> int:
        if index == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return index


def test_a_loader_process_that_the_system_ends() -> None:
    with pytest.raises(RuntimeError) as caught:
        list(DataLoader(_Killed(), num_workers=1))
    assert told(caught.value).startswith("a process that reads the data ")
    assert "lower data.num_workers" in told(caught.value)


def test_no_more_files() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    held = len(os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (held, before[1]))
    try:
        with pytest.raises(OSError) as caught:
            for _ in range(9):
                os.dup(0)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        os.closerange(held, held + 9)
    assert told(caught.value).startswith("too many open files")
