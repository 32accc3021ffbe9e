"""How many steps an epoch has, how many epochs a run, and in which of them images are mixed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from fcos_lightning.data.mixing.mixed import MixedAugmentation

if TYPE_CHECKING:
    import lightning as L


def steps_of_epoch(trainer: L.Trainer, batches: int) -> int:
    """Return the optimiser steps of an epoch, as far as ``limit_train_batches`` lets it go.

    Args:
        trainer: of the run.
        batches: that hold every image.
    """
    limit = trainer.limit_train_batches
    if isinstance(limit, int):
        batches = min(batches, limit)
    elif limit is not None:
        batches = int(batches * limit)
    return math.ceil(batches / trainer.accumulate_grad_batches)


def epochs_of_run(trainer: L.Trainer, batches: int) -> int | None:
    """Return the epochs of a whole run, the last one maybe not whole; None: it has no end.

    Args:
        trainer: of the run; it ends after its epochs or its steps, whichever are fewer.
        batches: see ``steps_of_epoch``.
    """
    epochs = trainer.max_epochs if trainer.max_epochs is not None else -1
    by_steps = -1
    if trainer.max_steps >= 0:
        by_steps = math.ceil(trainer.max_steps / max(steps_of_epoch(trainer, batches), 1))
    return min((length for length in (epochs, by_steps) if length >= 0), default=None)


def weak_from(augmentation: object, trainer: L.Trainer | None, batches: int) -> float:
    """Return the first epoch, 0-based, in which training images are not mixed.

    Args:
        augmentation: of training images.
        trainer: of the run; None: there is none, and so no end.
        batches: see ``steps_of_epoch``.
    """
    if not isinstance(augmentation, MixedAugmentation):
        return 0
    return augmentation.weak_from(None if trainer is None else epochs_of_run(trainer, batches))
