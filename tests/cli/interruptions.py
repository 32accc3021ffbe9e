"""Callbacks that end a run at a chosen place, as a crash or a scheduler would."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import lightning as L

from fcos_lightning.structures import Batch


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


class NoGradient(L.Callback):
    """A gradient that is no number, at a loss that is one."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_before_optimizer_step(
        self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: object
    ) -> None:
        if trainer.global_step == self.step:
            gradient = next(pl_module.detector.head.parameters()).grad  # type: ignore[union-attr, operator]
            assert gradient is not None
            gradient.fill_(float("nan"))


class Seen(L.Callback):
    """Writes down which images make up each step, one file for each rank."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        with (self.folder / f"seen{trainer.global_rank}.txt").open("a") as file:
            images = " ".join(map(str, batch.image_ids.tolist()))
            file.write(f"{trainer.global_step}: {images} {int(batch.images.pixels.sum())}\n")


class Linger(L.Callback):
    """Makes every step take so long."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def on_train_batch_end(self, *_: Any) -> None:
        import time

        time.sleep(self.seconds)
