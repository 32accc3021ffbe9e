"""Settings that follow from others: a length in other units, an optimiser in mixed precision."""

from __future__ import annotations

from collections.abc import Collection

from omegaconf import DictConfig

from fcos_lightning.runs.options.trainer import clips_fused

_LENGTHS = ("max_epochs", "max_steps")
_FUSED = "schedule.optimizer.fused"


def settle_length(config: DictConfig, given: Collection[str]) -> None:
    """Let ``schedule.max_epochs=10`` stand instead of a length in steps, and the reverse.

    Milestones in steps of the old length become shares of it, so that the rate falls at the same
    places of the run.

    Args:
        config: of the run; changed in place.
        given: keys that the command line gives.
    """
    schedule = config.get("schedule")
    if not isinstance(schedule, DictConfig):
        return
    said = [name for name in _LENGTHS if f"schedule.{name}" in given]
    lengths = {name: schedule.get(name) for name in _LENGTHS}
    if len(said) != 1 or any(not isinstance(length, int) for length in lengths.values()):
        return
    (other,) = (name for name in _LENGTHS if name not in said)
    schedule[other] = None
    marks = schedule.get("milestones") if "schedule.milestones" not in given else None
    if other == "max_steps" and marks and lengths[other] > 0:
        schedule.milestones = [
            round(mark / lengths[other], 6) if mark >= 1 else mark for mark in marks
        ]


def settle_optimizer(config: DictConfig, given: Collection[str]) -> None:
    """Take a file's fused optimiser apart where Lightning would refuse to clip its gradients.

    The steps are the same ones.

    Args:
        config: of the run; changed in place.
        given: keys that the command line gives.
    """
    trainer, schedule = config.get("trainer"), config.get("schedule")
    both = isinstance(trainer, DictConfig) and isinstance(schedule, DictConfig)
    if both and _FUSED not in given and clips_fused(trainer, schedule):
        schedule.optimizer.fused = False
