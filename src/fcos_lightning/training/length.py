"""How long a run is."""

from __future__ import annotations

from typing import Any

import lightning as L

from fcos_lightning.data import DetectionDataModule
from fcos_lightning.data.batches.epochs import steps_of_epoch
from fcos_lightning.errors import UserError


def total_steps(trainer: L.Trainer) -> int:
    """Return the optimiser steps of a whole run.

    Lightning's own estimate starts the loader, and with it its processes, before a resumed run
    knows at which batch it goes on; they would read the first epoch again. It is asked only where
    the data are not ours.

    Raises:
        UserError: if the run has no end.
    """
    data: Any = trainer.datamodule  # type: ignore[attr-defined]  # set by Trainer.fit
    if not isinstance(data, DetectionDataModule):
        return int(trainer.estimated_stepping_batches)
    steps = steps_per_epoch(trainer, data)
    epochs = trainer.max_epochs if trainer.max_epochs is not None else -1
    lengths = [length for length in (trainer.max_steps, steps * epochs) if length >= 0]
    if not lengths:
        raise UserError(
            "the learning rate follows the length of the run, and this one has none: give the "
            "Trainer max_steps= or max_epochs="
        )
    return min(lengths)


def steps_per_epoch(trainer: L.Trainer, data: DetectionDataModule) -> int:
    """Return the optimiser steps of an epoch, as far as ``limit_train_batches`` lets it go."""
    return steps_of_epoch(trainer, data.batches_per_epoch)
