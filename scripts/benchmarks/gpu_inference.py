"""Detecting with R-50 on one GPU in bfloat16, beside torchvision under the same autocast."""

from __future__ import annotations

import torch

from benchmarks.measure import Figure, Result, alternate
from benchmarks.peers import resnet_pair
from fcos_lightning.inference.folded import for_inference

TITLE = "inference, R-50, 800x1333, one GPU, bf16"

SIZE = (800, 1344)


def absent() -> str | None:
    """Return why this machine cannot run the row."""
    return None if torch.cuda.is_available() else "there is no GPU here"


def run(rounds: int) -> Result:
    """Measure batches of 1 and of 16, from uint8 pixels to boxes."""
    ours, peer = (model.cuda().eval() for model in resnet_pair())
    ours = for_inference(ours, channels_last=True)
    ours.compile(dynamic=False)
    generator = torch.Generator().manual_seed(0)
    figures = []
    for number in (1, 16):
        pixels = torch.randint(0, 256, (number, 3, *SIZE), generator=generator).byte().cuda()

        @torch.inference_mode()
        def detect_ours(images: list[torch.Tensor] = list(pixels)) -> object:  # noqa: B006
            with torch.autocast("cuda", torch.bfloat16):
                found = ours.detect(images)
            torch.cuda.synchronize()
            return found

        @torch.inference_mode()
        def detect_peer(images: list[torch.Tensor] = list(pixels)) -> object:  # noqa: B006
            with torch.autocast("cuda", torch.bfloat16):
                found = peer([image.float() / 255 for image in images])
            torch.cuda.synchronize()
            return found

        times = alternate(detect_ours, detect_peer, 4 * rounds, warmup=3)
        rates = [[number / took for took in both] for both in times]
        name = f"batch of {number}"
        figures.append(
            Figure(name, "torchvision", "images/s", *rates, target=2.5, higher_is_better=True)
        )
    return Result(figures)
