"""torchvision's FCOS, trained as its authors do on the sets that ours are trained on.

    python scripts/recipe/peer.py RUN_DIR --words data=voc data.root=DIR ... --weights FILE

The same images, backbone, weights and measure: MobileNetV2, an FPN and towers of 128 channels. The
rest is torchvision's own: its mapping, losses, decoding and SGD, as in its references/detection,
with batches of 8 at a rate of 0.01. It may be stopped at any moment; the same command goes on after
the last whole epoch.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision.models import mobilenet_v2
from torchvision.models.detection import FCOS
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fcos_lightning.data import DetectionDataModule
from fcos_lightning.evaluation.metric import DetectionMetric
from fcos_lightning.inference import chosen_device
from fcos_lightning.runs.config.composed import composed
from fcos_lightning.runs.session import make_datamodule
from fcos_lightning.storage.replacing import replacing, write_whole
from fcos_lightning.structures import Batch, Detections

_LAYERS = {"6": "0", "13": "1", "17": "2"}
_WIDTHS = [32, 96, 320]
_CHANNELS = 128


@dataclass(frozen=True)
class Recipe:
    """torchvision's, by the steps of a run of any length.

    Attributes:
        epochs: of the run.
        batch: images of a step.
        lr: the full rate.
        warmup_share: of the run in which the rate rises.
        milestones: shares of the run after which the rate is a tenth; 16 and 22 of 26 epochs.
    """

    epochs: int = 12
    batch: int = 8
    lr: float = 0.01
    warmup_share: float = 0.1
    milestones: tuple[float, ...] = (16 / 26, 22 / 26)

    def factor(self, step: int, steps: int) -> float:
        """Return the rate at a step over the full one."""
        warmup = round(self.warmup_share * steps)
        if step < warmup:
            return 0.001 + 0.999 * step / warmup
        return float(0.1 ** sum(step >= mark * steps for mark in self.milestones))


@dataclass
class Progress:
    """How far a run has come.

    Attributes:
        epochs: that are done.
        course: AP after each.
        best: figures of the best epoch.
        seconds: of all processes that worked on it.
    """

    epochs: int = 0
    course: list[float] = field(default_factory=list)
    best: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0


def build(classes: int, weights: Path) -> FCOS:
    """Return torchvision's detector on MobileNetV2 with weights; it resizes nothing."""
    body = mobilenet_v2().features
    given = torch.load(weights, weights_only=True)
    body.load_state_dict({name.removeprefix("features."): one for name, one in given.items()})
    backbone = BackboneWithFPN(
        body,
        _LAYERS,
        _WIDTHS,
        _CHANNELS,
        extra_blocks=LastLevelP6P7(_CHANNELS, _CHANNELS),
    )
    model = FCOS(backbone, classes)
    model.transform.resize = lambda image, target=None: (image, target)
    return model


def train(data: DetectionDataModule, model: FCOS, recipe: Recipe, folder: Path, seed: int) -> None:
    """Train to the end, from where an earlier process came to."""
    optimizer = torch.optim.SGD(model.parameters(), lr=recipe.lr, momentum=0.9, weight_decay=1e-4)
    last, progress = folder / "last.pth", Progress()
    if last.is_file():
        state = torch.load(last, weights_only=True, map_location="cpu")
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        progress = Progress(**state["progress"])
    per_epoch = math.ceil(len(data.train) / recipe.batch)
    metric = DetectionMetric(data.val.truth, protocol=data.protocol)
    loader = data.train_dataloader()
    while progress.epochs < recipe.epochs:
        began, epoch = time.monotonic(), progress.epochs
        torch.manual_seed(1000 * seed + epoch)
        loader.batch_sampler.set_epoch(epoch)  # type: ignore[union-attr]  # our own sampler
        model.train()
        for index, batch in enumerate(loader):
            rate = recipe.lr * recipe.factor(epoch * per_epoch + index, recipe.epochs * per_epoch)
            for group in optimizer.param_groups:
                group["lr"] = rate
            step(model, optimizer, batch)
        summary = measure(model, data, metric)
        progress.course.append(float(summary["AP"] or 0.0))
        if progress.course[-1] >= max(progress.course):
            progress.best = {name: summary[name] for name in ("AP", "AP50", "AP75")}
        progress.epochs += 1
        progress.seconds += time.monotonic() - began
        with replacing(last) as file:
            torch.save(
                {
                    "model": model.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "progress": vars(progress),
                },
                file,
            )
        print(f"epoch {progress.epochs}: AP {progress.course[-1]:.4f}", flush=True)
    figures = {**progress.best, "course": progress.course, "seconds": progress.seconds}
    write_whole(json.dumps(figures) + "\n", folder / "figures.json")


def step(model: FCOS, optimizer: torch.optim.Optimizer, batch: Batch) -> None:
    """Take a step.

    Raises:
        SystemExit: if the loss is no number.
    """
    pixels = _pixels(model, batch)
    batch = batch.to(device_of(model))
    rows = zip(batch.targets.boxes_xyxy, batch.targets.labels, strict=True)
    targets = [{"boxes": b[n >= 0], "labels": n[n >= 0]} for b, n in rows]
    loss: Tensor = sum(model(pixels, targets).values())
    if not torch.isfinite(loss):
        raise SystemExit(f"error: the loss is {float(loss)}")
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()


def device_of(model: FCOS) -> torch.device:
    """Return where a model is."""
    return next(model.parameters()).device


def _pixels(model: FCOS, batch: Batch) -> list[Tensor]:
    """Return the images without their padding, in [0, 1], where the model is."""
    pairs = zip(batch.images.pixels, batch.images.sizes_hw.tolist(), strict=True)
    return [one[:, :h, :w].to(device_of(model)).float() / 255 for one, (h, w) in pairs]


@torch.no_grad()
def measure(model: FCOS, data: DetectionDataModule, metric: DetectionMetric) -> dict[str, Any]:
    """Return the figures on the validation split."""
    model.eval()
    metric.reset()
    for batch in data.val_dataloader():
        found = model(_pixels(model, batch))
        detections = [
            Detections(one["boxes"], one["scores"], one["labels"]).to("cpu") for one in found
        ]
        sizes = zip(detections, batch.images.sizes_hw, batch.original_sizes_hw, strict=True)
        metric.update(batch.image_ids, [one.resized(*both) for one, *both in sizes])
    return metric.compute()


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, and write figures.json."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--words", nargs="+", required=True, help="that choose the data")
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    given.folder.mkdir(parents=True, exist_ok=True)
    recipe = Recipe(epochs=given.epochs)
    words = (*given.words, f"data.batch_size={recipe.batch}", f"seed={given.seed}")
    random.seed(given.seed)
    np.random.seed(given.seed)
    torch.manual_seed(given.seed)
    with composed("train", ("model=mnv2", *words), None) as config:
        data = make_datamodule(config)
        classes = len(data.train.truth.class_names)
        model = build(classes, given.weights).to(chosen_device("auto"))
        train(data, model, recipe, given.folder, given.seed)


if __name__ == "__main__":
    main()
