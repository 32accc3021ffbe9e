"""How long a run will take, told after its first steps and kept up to date."""

from __future__ import annotations

import time
from typing import Any

import lightning as L
import torch
from lightning.pytorch.accelerators import CPUAccelerator

from fcos_lightning.data import DetectionDataModule
from fcos_lightning.training.length import steps_per_epoch, total_steps

#: The first steps start loaders and find algorithms; they say little of those behind them.
_PASSED_OVER = 3
#: So many steps after them are enough for a forecast.
_MEASURED = 8
#: The mean moves by so much with each step.
_MOVES = 0.05
#: An image costs in evaluation about so much of what it costs in training, before it is known.
_OF_A_STEP = 0.4
#: A run that is over sooner is not worth a line; one that takes longer on a processor gets advice.
_SHORT_S, _LONG_S = 60.0, 3600.0
#: A shorter side that small runs do well with, in pixels.
_SMALLER_PX = 320


class Forecast(L.Callback):
    """Measures steps and validations, and says when the whole run will be over.

    The progress bar shows ``left``; a line tells it once, also in a log file.
    """

    def __init__(self) -> None:
        self._step_s = 0.0
        self._steps = 0
        self._validation_s = 0.0
        self._before: float | None = None
        self._validation_began = 0.0
        self._told = False

    def left_s(self, trainer: L.Trainer) -> float | None:
        """Return the seconds until the end of the run; None: nothing is known yet."""
        data: Any = trainer.datamodule  # type: ignore[attr-defined]  # set by Trainer.fit
        if self._steps < _PASSED_OVER + _MEASURED or not isinstance(data, DetectionDataModule):
            return None
        steps = max(total_steps(trainer) - trainer.global_step, 0)
        between = max(steps_per_epoch(trainer, data) * (trainer.check_val_every_n_epoch or 1), 1)
        validation_s = self._validation_s
        if not validation_s:
            images = len(data.val) / max(data.batch_size * trainer.accumulate_grad_batches, 1)
            validation_s = _OF_A_STEP * self._step_s * images
        return steps * self._step_s + -(-steps // between) * validation_s

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Begin to measure; called by Lightning."""
        self._before = None

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Leave the start of the loaders out; called by Lightning."""
        self._before = None

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,  # noqa: ANN401  # Lightning's signature
        batch: Any,  # noqa: ANN401  # Lightning's signature
        batch_idx: int,
    ) -> None:
        """Measure a step, and tell the forecast once there is one."""
        now, before = time.monotonic(), self._before
        self._before = now
        if before is None:
            return
        self._steps += 1
        took = (now - before) * trainer.accumulate_grad_batches
        if self._steps <= _PASSED_OVER:
            return
        share = max(1 / (self._steps - _PASSED_OVER), _MOVES)
        self._step_s += share * (took - self._step_s)
        if not self._told and self._steps == _PASSED_OVER + _MEASURED:
            self._told = True
            left = self.left_s(trainer)
            if left is not None and left >= _SHORT_S and trainer.is_global_zero:
                print(_sentence(trainer, left), flush=True)

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Measure a validation; called by Lightning."""
        self._validation_began = time.monotonic()

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Take in how long it took, and leave it out of the step around it."""
        if not trainer.sanity_checking:
            self._validation_s = time.monotonic() - self._validation_began
        self._before = None


def _sentence(trainer: L.Trainer, left_s: float) -> str:
    """Say when the run will be over, on what, and what would be quicker."""
    if not isinstance(trainer.accelerator, CPUAccelerator):
        devices = trainer.num_devices * trainer.num_nodes
        return f"about {duration(left_s)} to go on {devices} device{'s' if devices > 1 else ''}"
    parts = [f"about {duration(left_s)} to go on this processor"]
    if not torch.cuda.is_available():
        parts.append("no GPU found")
    data: Any = trainer.datamodule  # type: ignore[attr-defined]  # set by Trainer.fit
    side = getattr(data, "shorter_side", 0)
    if left_s >= _LONG_S and side > _SMALLER_PX:
        sooner = left_s * (_SMALLER_PX / side) ** 2
        parts.append(f"data.shorter_side={_SMALLER_PX}: about {duration(sooner)}")
    return "; ".join(parts)


def duration(seconds: float) -> str:
    """Return a duration for people, of two units at most: ``8 h 40 min``."""
    minutes = round(seconds / 60)
    if seconds < 59.5:
        return f"{max(round(seconds), 0)} s"
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(round(seconds / 3600), 24)
    return f"{days} d {hours} h" if hours else f"{days} d"
