"""Callbacks that end a run at a chosen place, as a crash or a scheduler would."""

from __future__ import annotations

import os
import signal
from typing import Any

import lightning as L


def _end(how: str) -> None:
    if how == "kill":
        os._exit(9)  # nothing is flushed, nothing is closed
    os.kill(os.getpid(), getattr(signal, how))


class AtStep(L.Callback):
    """Before the batch that follows so many optimiser steps; on one rank alone if asked to."""

    def __init__(self, step: int, how: str = "kill", rank: int = 0) -> None:
        self.step, self.how, self.rank = step, how, rank

    def on_train_batch_start(self, trainer: L.Trainer, *_: Any) -> None:
        if trainer.global_step == self.step and trainer.global_rank == self.rank:
            _end(self.how)


class InValidation(L.Callback):
    """In the validation that follows so many optimiser steps."""

    def __init__(self, step: int, how: str = "kill") -> None:
        self.step, self.how = step, how

    def on_validation_batch_start(self, trainer: L.Trainer, *_: Any) -> None:
        if trainer.global_step == self.step:
            _end(self.how)


class Linger(L.Callback):
    """Makes every step take so long."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def on_train_batch_end(self, *_: Any) -> None:
        import time

        time.sleep(self.seconds)
