"""A loader process that cannot go on says why, in one line, and nobody waits for it."""

import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from fcos_lightning.data.batches import loader as loader_module
from fcos_lightning.data.batches.collate import Collate
from fcos_lightning.data.batches.dataset import Sample
from fcos_lightning.data.batches.loader import StepLoader, ended_loader
from fcos_lightning.data.batches.workers import (
    say_nothing_of_a_run_that_is_gone,
    workers_that_fit,
)
from fcos_lightning.errors import UserError
from fcos_lightning.structures import Target


class _Samples(Dataset[Sample]):
    """Four black images; the process that reads the third may end."""

    def __init__(self, ending: int | None = None) -> None:
        self.ending = ending

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Sample:
        if index == 2 and self.ending is not None:
            os.kill(os.getpid(), self.ending) if self.ending else os._exit(3)
        image = torch.zeros(3, 8, 8, dtype=torch.uint8)
        target = Target(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))
        return Sample(image, target, index, (8, 8))


def _ids(dataset: _Samples, workers: int) -> list[int]:
    loader = StepLoader(dataset, batch_size=1, num_workers=workers, collate_fn=Collate())
    return [int(batch.image_ids) for batch in loader]


@pytest.mark.parametrize("workers", [0, 1])
def test_batches_come_over(workers: int) -> None:
    assert _ids(_Samples(), workers) == [0, 1, 2, 3]


def test_no_shared_memory_is_told_rather_than_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(tensor: torch.Tensor) -> torch.Tensor:
        raise RuntimeError(
            "unable to allocate shared memory(shm) for file </torch_1>: No space (28)"
        )

    monkeypatch.setattr(torch.Tensor, "share_memory_", full)
    with pytest.raises(UserError, match="--shm-size=8g"):
        _ids(_Samples(), 1)


@pytest.mark.parametrize(
    ("ending", "said"),
    [
        (signal.SIGKILL, "want of memory"),
        (signal.SIGBUS, "bus error.*--shm-size"),
        (signal.SIGSEGV, "Segmentation fault.*data.num_workers=0"),
        (0, "num_workers=0 shows more"),
    ],
)
# Torch may also say so in whatever is being cleared away just then, which Python only remarks on.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_process_that_ends_is_one_line(ending: int, said: str) -> None:
    with pytest.raises(UserError, match=said):
        _ids(_Samples(ending), 1)


@pytest.mark.parametrize("first", [EOFError(), RuntimeError("Pin memory thread exited")])
def test_torch_may_tell_while_another_error_is_looked_at(
    monkeypatch: pytest.MonkeyPatch, first: Exception
) -> None:
    told = RuntimeError("DataLoader worker (pid 7) is killed by signal: Segmentation fault. ")
    asked: list[object] = []

    def looked_at(*_: object) -> UserError | None:
        asked.append(_)
        if len(asked) == 1:
            raise told
        return ended_loader(told)

    def torn(*_: object) -> object:
        raise first

    monkeypatch.setattr(DataLoader, "__iter__", torn)
    monkeypatch.setattr(loader_module, "_by_exit_code", looked_at)
    monkeypatch.setattr(loader_module, "ended_loader", looked_at)
    with pytest.raises(UserError, match=r"by Segmentation fault: data\.num_workers=0"):
        _ids(_Samples(), 0)
    assert len(asked) == 2


def _told_to_end(connection: Connection) -> None:
    connection.recv()
    os.kill(os.getpid(), signal.SIGKILL)


def test_how_a_process_ended_is_known_after_torch_has_looked_at_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(target=_told_to_end, args=(theirs,))

    def lost() -> Iterator[object]:
        ours.send("end")
        process.join()  # so that the signal of its end has nothing to tell any more
        raise RuntimeError(f"DataLoader worker (pid(s) {process.pid}) exited unexpectedly")
        yield

    def started(_: object) -> Iterator[object]:
        process.start()
        return lost()

    monkeypatch.setattr(DataLoader, "__iter__", started)
    with pytest.raises(UserError, match="want of memory"):
        _ids(_Samples(), 0)


def test_there_are_no_more_processes_than_shared_memory_for_them(tmp_path: Path) -> None:
    assert workers_that_fit(8, 1, tmp_path) == 8
    assert workers_that_fit(8, 1 << 60, tmp_path) == 0
    assert workers_that_fit(8, 1 << 60, tmp_path / "not there") == 8


def test_a_loader_process_says_nothing_of_a_run_that_is_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[type[BaseException]] = []
    monkeypatch.setattr(sys, "excepthook", lambda kind, *_: said.append(kind))
    say_nothing_of_a_run_that_is_gone()
    for error in (EOFError(), ConnectionResetError(), ValueError()):
        sys.excepthook(type(error), error, None)
    assert said == [ValueError]
