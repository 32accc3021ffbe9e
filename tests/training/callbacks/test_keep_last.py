"""When ``last.ckpt`` is saved; that a run goes on from it is shown in tests/cli/test_resume.py."""

import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from lightning.pytorch.trainer.states import TrainerFn

from fcos_lightning.errors import UserError
from fcos_lightning.signals import Asked, Stopped
from fcos_lightning.training.callbacks import keep_last as module
from fcos_lightning.training.callbacks.keep_last import KeepLast


class Trainer:
    """What the callback asks of one, at a step between batches."""

    world_size, accumulate_grad_batches, is_global_zero, global_step = 1, 2, True, 0
    state, sanity_checking, is_last_batch = SimpleNamespace(fn=TrainerFn.FITTING), False, False

    def __init__(self) -> None:
        self.saved: list[int] = []

    def save_checkpoint(self, file: Path) -> None:
        self.saved.append(self.global_step)


def started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **when: Any
) -> tuple[KeepLast, Any, list[float]]:
    """A callback of a run that begins at 100 s, and the hand of its clock."""
    now = [100.0]
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    callback, trainer = KeepLast(tmp_path, **when), Trainer()
    monkeypatch.setattr(callback._watch, "start", lambda: None)
    callback.on_train_start(trainer, None)  # type: ignore[arg-type]
    return callback, trainer, now


def at(callback: KeepLast, trainer: Any, step: int, batch_idx: int) -> None:
    trainer.global_step = step
    callback.on_train_batch_start(trainer, None, None, batch_idx)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [0, -1])
@pytest.mark.parametrize("unit", ["minutes", "steps"])
def test_a_time_that_is_none_is_refused(tmp_path: Path, unit: str, value: int) -> None:
    with pytest.raises(
        UserError, match=rf"checkpoint\.every_n_{unit}={value}: give a number above"
    ):
        KeepLast(tmp_path, **{f"every_n_{unit}": value})  # type: ignore[arg-type]


def test_it_saves_at_multiples_of_so_many_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    callback, trainer, _ = started(tmp_path, monkeypatch, every_n_minutes=None, every_n_steps=3)
    for step in range(10):
        at(callback, trainer, step, batch_idx=2 * step + 2)
    assert trainer.saved == [3, 6, 9]


def test_it_saves_after_so_many_minutes_since_the_last_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    callback, trainer, now = started(tmp_path, monkeypatch, every_n_minutes=1.0)
    for step in range(1, 13):
        now[0] += 25.0
        at(callback, trainer, step, batch_idx=2 * step)
    assert trainer.saved == [3, 6, 9, 12]  # 75 s each


def test_it_saves_at_the_end_of_each_epoch_and_of_validations_within(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    callback, trainer, _ = started(tmp_path, monkeypatch, every_n_minutes=None)
    at(callback, trainer, 0, batch_idx=0)  # nothing was trained yet
    for trainer.global_step, trainer.is_last_batch in ((3, False), (5, True)):
        callback.on_validation_end(trainer, None)  # type: ignore[arg-type]
    assert trainer.saved == [3]  # the best checkpoint of the epoch is not kept yet
    callback.on_train_epoch_end(trainer, None)  # type: ignore[arg-type]
    assert trainer.saved == [3, 5]


def test_a_signal_in_the_first_step_stops_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As torch.compile takes minutes in it, and there is nothing to keep."""
    callback, trainer, _ = started(tmp_path, monkeypatch)
    at(callback, trainer, 0, batch_idx=0)
    with pytest.raises(Asked):
        callback._watch._note(signal.SIGTERM, None)
    callback._watch.received = 0
    callback.on_train_batch_end(trainer)
    at(callback, trainer, 1, batch_idx=2)
    callback._watch._note(signal.SIGTERM, None)
    assert callback._watch.received == signal.SIGTERM
    with pytest.raises(Asked):  # Ctrl-C, after all
        callback._watch._note(signal.SIGINT, None)


def test_it_saves_only_between_optimiser_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    callback, trainer, _ = started(tmp_path, monkeypatch, every_n_steps=1)
    at(callback, trainer, 1, batch_idx=3)  # in the midst of two that are accumulated
    assert trainer.saved == []
    at(callback, trainer, 1, batch_idx=4)
    assert trainer.saved == [1]


def test_asked_to_stop_it_saves_and_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    callback, trainer, _ = started(tmp_path, monkeypatch, every_n_minutes=None)
    callback._watch.received = 15
    with pytest.raises(Stopped):
        at(callback, trainer, 4, batch_idx=8)
    assert trainer.saved == [4]
