"""Requests that ``fcos-serve`` answers in a second, beside detection alone in one process."""

from __future__ import annotations

import asyncio
import io
import os
import tempfile
from pathlib import Path

import torch
from PIL import Image

from benchmarks.measure import Figure, Result, not_installed, seconds
from benchmarks.peers import mobilenet_pair
from fcos_lightning.checkpoints import describe
from fcos_lightning.checkpoints.native import KEY, PREFIX
from fcos_lightning.inference import Predictor

TITLE = "fcos-serve, MobileNetV2 at 240x320, JPEG files of 480x640, processor"

SIDES = (240, 320)
CLIENTS = 8
SECONDS = 10.0
#: Of detection alone: about as many as are answered in that time.
IMAGES = 160


def absent() -> str | None:
    """Say why this machine cannot run the row."""
    return not_installed("fastapi", "uvicorn", "aiohttp", "prometheus_client")


def run(rounds: int) -> Result:
    """Measure both in turn, with a thread for each processor."""
    import aiohttp

    from load_serve import Seen, at_ease, photos, running, times_of

    torch.set_num_threads(os.cpu_count() or 1)
    detector = mobilenet_pair()[0].eval()
    about = describe(detector, shorter_side=SIDES[0], longer_side=SIDES[1])
    weights = {f"{PREFIX}{key}": value for key, value in detector.state_dict().items()}
    files = photos()
    predictor = Predictor(detector, *SIDES, device="cpu", batch_size=4)
    alone = [predictor.prepared(Image.open(io.BytesIO(one))) for one in files]

    def detect() -> None:
        for first in range(0, IMAGES, 4):
            predictor.detected([alone[(first + one) % len(alone)] for one in range(4)])

    async def ask(address: str) -> Seen:
        async with aiohttp.ClientSession(address) as client:
            return await at_ease(client, files, SECONDS, CLIENTS)

    ours, theirs, took_s = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "best.ckpt"
        torch.save({KEY: about, "state_dict": weights}, checkpoint)
        with running(checkpoint, ("score_threshold=0.3",)) as address:
            for number in range(rounds + 1):
                rate = IMAGES / seconds(detect)
                seen = asyncio.run(ask(address))
                if set(seen.statuses) != {200}:
                    raise RuntimeError(f"answers of {dict(seen.statuses)}")
                if number:  # the first warms up
                    theirs.append(rate)
                    ours.append(seen.statuses[200] / SECONDS)
                    took_s += seen.accepted_s
    figure = Figure(
        f"{CLIENTS} clients that wait for their answers",
        "detection alone, 4 images at a time",
        "images/s",
        ours,
        theirs,
        higher_is_better=True,
    )
    notes = [
        f"Requests: {times_of(took_s)}. Server and clients share the processors; the weights are "
        "random and find nothing above the threshold. What comes of twice as much is told by "
        "`scripts/load_serve.py`."
    ]
    return Result([figure], notes)
