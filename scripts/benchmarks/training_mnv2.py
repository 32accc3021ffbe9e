"""A training step of a small net on a processor, beside torchvision's."""

from __future__ import annotations

from benchmarks.measure import Figure, Result, alternate, peak_mb
from benchmarks.peers import Steps, mobilenet_pair

TITLE = "training step, MobileNetV2, 128-channel head, 8 images of 240x320, processor"

#: A multiple of 32, as both pad to.
SIZE = (256, 320)


def run(rounds: int) -> Result:
    """Measure the step as fcos-train takes it, and the same with torch's own memory layout."""
    steps = Steps(mobilenet_pair(), 8, SIZE)
    notes = [f"Losses are torchvision's within {steps.check():.1e}."]
    ours, theirs = alternate(steps.our_step, steps.peer_step, rounds)
    plain = Figure("torch's own memory layout", "torchvision", "s", ours, theirs)
    steps.accelerate()
    steps.check()
    ours, theirs = alternate(steps.our_step, steps.peer_step, rounds)
    figures = [Figure("", "torchvision", "s", ours, theirs, target=1.3), plain]
    kept = [peak_mb(steps.our_step)], [peak_mb(steps.peer_step)]
    figures.append(Figure("peak memory of a step", "torchvision", "MB", *kept))
    notes.append(
        "Of our time about half goes into the 3x3 convolutions of the head, which are the same "
        "instructions on both sides; the other half is 1.6 times as fast. That comes from channels "
        "last (depthwise convolutions need a third to a half of the time so, BatchNorm's gradient "
        "1.3 times as much), the losses, and a ReLU6 that does not copy its input. Tried and left: "
        "telling the allocator to keep freed memory (docs/deployment.md) makes a step of either "
        "side about 5% faster."
    )
    return Result(figures, notes)
