"""The length of a run, where the command line gives it in other units than the schedule's file."""

from __future__ import annotations

from collections.abc import Collection

from omegaconf import DictConfig

_LENGTHS = ("max_epochs", "max_steps")


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
