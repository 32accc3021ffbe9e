"""What the bar shows; that it is shown is in tests/cli/test_train.py."""

from types import SimpleNamespace
from typing import Any

import torch

from fcos_lightning.training.callbacks.monitor import Monitor
from fcos_lightning.training.callbacks.progress_bar import RunProgressBar


def trainer(**figures: float) -> Any:
    monitor = Monitor()
    monitor.positives = {"P3": 12.4, "P4": 3.6}
    monitor._epoch_began, monitor._batch_ended = 10.0, 14.0
    monitor._images, monitor._waited = 100, 1.0
    named = {name.replace("__", "/"): torch.tensor(value) for name, value in figures.items()}
    return SimpleNamespace(progress_bar_metrics=named, callbacks=[monitor])


def test_losses_have_short_names_and_come_once() -> None:
    shown = RunProgressBar().get_metrics(
        trainer(train__loss=1.23456, train__loss_step=9.0, train__loss_epoch=9.0, other=9.0), None
    )  # type: ignore[arg-type]
    assert shown == {
        "loss": "1.235",
        "positives": "P3:12 P4:4",
        "images/s": "25.0",
        "wait": "25%",
    }


def test_ap_comes_with_the_first_validation() -> None:
    shown = RunProgressBar().get_metrics(trainer(val__AP=0.4567, val__AP50=0.9), None)  # type: ignore[arg-type]
    assert shown["AP"] == "0.457" and "AP50" not in shown


def test_without_a_monitor_there_are_losses_alone() -> None:
    bare = trainer(train__box=0.5)
    bare.callbacks = []
    assert RunProgressBar().get_metrics(bare, None) == {"box": "0.500"}  # type: ignore[arg-type]


def test_it_is_not_drawn_more_often_than_eyes_follow(monkeypatch: Any) -> None:
    now, drawn = [100.0], []
    monkeypatch.setattr(
        "fcos_lightning.training.callbacks.progress_bar.time.monotonic", lambda: now[0]
    )
    monkeypatch.setattr(
        "lightning.pytorch.callbacks.RichProgressBar.refresh", lambda self, hard: drawn.append(hard)
    )
    bar = RunProgressBar()
    for _ in range(10):
        now[0] += 0.2
        bar.refresh()
    assert len(drawn) == 4  # at 0.2, 0.8, 1.4 and 2.0 s
    bar.refresh(hard=True)
    assert len(drawn) == 5
