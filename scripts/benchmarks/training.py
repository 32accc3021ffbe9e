"""A training step of R-50 on a processor, beside torchvision's; what activations cost in memory."""

from __future__ import annotations

from benchmarks.measure import Figure, Result, alternate, peak_mb
from benchmarks.peers import Steps, resnet_pair

TITLE = "training step, R-50, one image of 800x1088, processor"


def run(rounds: int) -> Result:
    """Measure the step as fcos-train takes it, and the same with torch's own memory layout."""
    steps = Steps(resnet_pair(), 1, (800, 1088))
    notes = [f"Losses are torchvision's within {steps.check():.1e}."]
    ours, theirs = alternate(steps.our_step, steps.peer_step, rounds)
    plain = Figure("torch's own memory layout", "torchvision", "s", ours, theirs)
    steps.accelerate()
    steps.check()
    ours, theirs = alternate(steps.our_step, steps.peer_step, rounds)
    figures = [Figure("", "torchvision", "s", ours, theirs, target=1), plain]
    kept = [peak_mb(steps.our_step)], [peak_mb(steps.peer_step)]
    figures.append(Figure("peak memory of a step", "torchvision", "MB", *kept))

    again = Steps(resnet_pair(), 1, (800, 1088))
    again.accelerate(activation_checkpointing=True)
    again.check()
    ours, theirs = alternate(again.our_step, steps.our_step, rounds)
    figures.append(Figure("activation_checkpointing=true", "without", "s", ours, theirs))
    less = [peak_mb(again.our_step)], [peak_mb(steps.our_step)]
    figures.append(Figure("activation_checkpointing=true, peak memory", "without", "MB", *less))
    notes.append(
        "Frozen BatchNorm is folded into the convolutions in training too, and nets lie channels "
        "last; the second line shows what folding does alone."
    )
    return Result(figures, notes)
