from types import SimpleNamespace
from typing import Any

import pytest
from lightning.pytorch.accelerators import CPUAccelerator, CUDAAccelerator
from tests.training.callbacks.test_progress_bar import trainer as with_figures

from fcos_lightning.data import ShapesDataModule
from fcos_lightning.training.callbacks import forecast as module
from fcos_lightning.training.callbacks.forecast import Forecast, duration
from fcos_lightning.training.callbacks.progress_bar import RunProgressBar


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Of 100 epochs of 20 steps, with 20 batches of images for validation."""
    data = ShapesDataModule(
        train_images=40, val_images=40, image_px=64, batch_size=2, shorter_side=640
    )
    monkeypatch.setattr(ShapesDataModule, "train", range(40))
    monkeypatch.setattr(ShapesDataModule, "val", range(40))
    return SimpleNamespace(
        datamodule=data,
        global_step=0,
        max_steps=-1,
        max_epochs=100,
        limit_train_batches=None,
        accumulate_grad_batches=1,
        check_val_every_n_epoch=1,
        is_global_zero=True,
        sanity_checking=False,
        accelerator=CPUAccelerator(),
        num_devices=1,
        num_nodes=1,
    )


def epoch(one: Forecast, trainer: Any, clock: Clock, steps: int, step_s: float) -> None:
    one.on_train_epoch_start(trainer, None)  # type: ignore[arg-type]
    clock.now += 50  # the loaders start, which is no step
    for number in range(steps):
        clock.now += step_s
        trainer.global_step += 1
        one.on_train_batch_end(trainer, None, None, None, number)  # type: ignore[arg-type]


def test_the_whole_run_is_forecast_after_the_first_steps(
    clock: Clock, trainer: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.torch.cuda, "is_available", lambda: False)
    one = Forecast()
    one.on_train_start(trainer, None)  # type: ignore[arg-type]
    epoch(one, trainer, clock, 11, 6.0)
    assert one.left_s(trainer) is None and capsys.readouterr().out == ""
    clock.now += 6.0
    trainer.global_step += 1
    one.on_train_batch_end(trainer, None, None, None, 11)  # type: ignore[arg-type]
    # 1988 steps of 6 s, and 100 validations of 20 batches, each worth .4 of a step.
    assert one.left_s(trainer) == pytest.approx(1988 * 6 + 100 * 20 * 0.4 * 6)
    assert capsys.readouterr().out == (
        "about 4 h 39 min to go on this processor; no GPU found; data.shorter_side=320: about "
        "1 h 10 min\n"
    )
    epoch(one, trainer, clock, 8, 6.0)
    assert capsys.readouterr().out == ""  # told once
    one.on_validation_start(trainer, None)  # type: ignore[arg-type]
    clock.now += 30.0
    one.on_validation_end(trainer, None)  # type: ignore[arg-type]
    assert one.left_s(trainer) == pytest.approx(1980 * 6 + 99 * 30)
    trainer.global_step = 2000
    assert one.left_s(trainer) == 0.0


def test_devices_are_named_and_short_runs_left_alone(
    clock: Clock, trainer: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer.accelerator, trainer.num_devices = CUDAAccelerator(), 2
    epoch(Forecast(), trainer, clock, 12, 0.6)
    assert capsys.readouterr().out == "about 28 min to go on 2 devices\n"
    trainer.global_step = 0
    epoch(Forecast(), trainer, clock, 12, 0.01)
    assert capsys.readouterr().out == ""


def test_the_bar_shows_what_is_left_of_the_run(clock: Clock, trainer: Any) -> None:
    one = Forecast()
    epoch(one, trainer, clock, 12, 0.6)
    figures = with_figures()
    for name in ("datamodule", "global_step", "max_steps", "max_epochs", "limit_train_batches"):
        setattr(figures, name, getattr(trainer, name))
    figures.accumulate_grad_batches = figures.check_val_every_n_epoch = 1
    figures.callbacks.append(one)
    bar = RunProgressBar()
    epoch_s, evaluation_s = SimpleNamespace(elapsed=65.0, time_remaining=7.0), 29.0
    assert bar.time_left(epoch_s, training=True) == "1 min so far"  # type: ignore[arg-type]  # passed
    bar.get_metrics(figures, None)  # type: ignore[arg-type]
    assert bar.time_left(epoch_s, training=True) == "28 min left"  # type: ignore[arg-type]
    epoch_s.time_remaining = evaluation_s
    assert bar.time_left(epoch_s, training=False) == "29 s left"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.2, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (3590, "1 h"),
        (31_200, "8 h 40 min"),
        (86_400, "1 d"),
        (100_000, "1 d 4 h"),
    ],
)
def test_durations_are_for_people(seconds: float, said: str) -> None:
    assert duration(seconds) == said
