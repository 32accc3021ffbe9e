"""How many optimiser steps a run has, by all that may limit it."""

from types import SimpleNamespace
from typing import Any

import pytest

from fcos_lightning.data import ShapesDataModule
from fcos_lightning.errors import UserError
from fcos_lightning.training.length import total_steps


def trainer(monkeypatch: pytest.MonkeyPatch, **changes: object) -> Any:
    """Of a data module with 25 batches an epoch."""
    monkeypatch.setattr(ShapesDataModule, "batches_per_epoch", 25)
    settings = {
        "datamodule": ShapesDataModule.__new__(ShapesDataModule),
        "limit_train_batches": None,
        "accumulate_grad_batches": 1,
        "max_epochs": None,
        "max_steps": -1,
    }
    return SimpleNamespace(**{**settings, **changes})


@pytest.mark.parametrize(
    ("changes", "steps"),
    [
        ({"max_epochs": 3}, 75),
        ({"max_steps": 40}, 40),
        ({"max_steps": 40, "max_epochs": -1}, 40),
        ({"max_steps": 80, "max_epochs": 3}, 75),
        ({"max_steps": 40, "max_epochs": 3}, 40),
        ({"max_epochs": 3, "accumulate_grad_batches": 2}, 39),  # the last step of an epoch is less
        ({"max_epochs": 3, "limit_train_batches": 10}, 30),
        ({"max_epochs": 3, "limit_train_batches": 100}, 75),
        ({"max_epochs": 3, "limit_train_batches": 0.5}, 36),
        ({"max_steps": 0, "max_epochs": 3}, 0),
        ({"max_epochs": 0}, 0),
    ],
    ids=str,
)
def test_the_shortest_limit_counts(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, object], steps: int
) -> None:
    assert total_steps(trainer(monkeypatch, **changes)) == steps


def test_a_run_without_an_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="give the Trainer max_steps= or max_epochs="):
        total_steps(trainer(monkeypatch, max_epochs=-1))


def test_of_other_data_lightning_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = trainer(monkeypatch, datamodule=None, estimated_stepping_batches=7.0)
    assert total_steps(asked) == 7
