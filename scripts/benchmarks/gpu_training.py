"""A training step of R-50 on one GPU in bfloat16, beside torchvision's under the same autocast."""

from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.measure import Figure, Result, alternate, median, seconds
from benchmarks.peers import Steps, resnet_pair

TITLE = "training step, R-50, 16 images of 800x1333, one GPU, bf16"

#: 1333 rounded up, as both pad to.
SIZE = (800, 1344)
IMAGES = 16


def absent() -> str | None:
    """Return why this machine cannot run the row."""
    return None if torch.cuda.is_available() else "there is no GPU here"


def run(rounds: int) -> Result:
    """Measure images a second, eager and compiled, and the share of the GPU used."""
    steps = Steps(resnet_pair(), IMAGES, SIZE, device="cuda")
    notes = [f"Losses are torchvision's within {steps.check(tolerance=0.02):.1e}."]
    with FlopCounterMode(display=False) as counted:
        steps.our_step()
    steps.accelerate()
    figures = [_figure("eager", steps, rounds, target=None)]
    memory = []
    for step in (steps.our_step, steps.peer_step):
        torch.cuda.reset_peak_memory_stats()
        step()
        memory.append([torch.cuda.max_memory_allocated() / 1e6])
    figures.append(Figure("peak memory", "torchvision", "MB", *memory))
    compiled = Steps(resnet_pair(), IMAGES, SIZE, device="cuda")
    compiled.accelerate(compiled=True)
    compiled.check(tolerance=0.02)
    figures.append(_figure("trainer.compile=true", compiled, rounds, target=2))
    best = max(max(figure.ours) for figure in figures if figure.unit == "images/s") / IMAGES
    rate = matrix_rate()
    used = counted.get_total_flops() * best / rate
    figures.append(
        Figure(
            "share of the GPU's matrix rate",
            "",
            "of 1",
            [used],
            [],
            higher_is_better=True,
            absolute_target=0.4,
        )
    )
    notes.append(
        f"The matrix rate is that of torch's own 8192x8192 product in bfloat16 on this GPU: "
        f"{rate / 1e12:.0f} TFLOP/s."
    )
    return Result(figures, notes)


def _figure(what: str, steps: Steps, rounds: int, target: float | None) -> Figure:
    ours, theirs = alternate(steps.our_step, steps.peer_step, rounds, warmup=3)
    rates = [[IMAGES / took for took in both] for both in (ours, theirs)]
    return Figure(what, "torchvision", "images/s", *rates, target, higher_is_better=True)


def matrix_rate(size: int = 8192) -> float:
    """Return the floating point operations a second of a large product in bfloat16."""
    one = torch.randn(size, size, device="cuda", dtype=torch.bfloat16)

    def product() -> None:
        for _ in range(10):
            one @ one
        torch.cuda.synchronize()

    product()
    return 10 * 2 * size**3 / median([seconds(product) for _ in range(5)])
