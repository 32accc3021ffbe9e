"""Small detectors of every method, and images with boxes that crowd."""

from __future__ import annotations

from typing import Any

import hydra
import torch
from hydra.core.global_hydra import GlobalHydra
from torch import Tensor

from fcos_lightning.detector import DenseDetector
from fcos_lightning.runs.config.composed import config_dir
from fcos_lightning.runs.objects.instantiate import make
from fcos_lightning.structures import Prediction, Target

METHODS = sorted(file.stem for file in (config_dir() / "method").glob("*.yaml"))


def small_detector(method: str, classes: int = 3) -> DenseDetector:
    """A tiny net of a method, with fresh weights."""
    GlobalHydra.instance().clear()
    words = [f"method={method}", "model=tiny", "model.fpn.channels=16"]
    if method != "ssd":
        words.append("model.head.num_convs=1")
    with hydra.initialize_config_dir(str(config_dir()), version_base="1.3"):
        config = hydra.compose("train", words)
        made: DenseDetector = make(
            config,
            "model",
            class_names=list("abcdefgh")[:classes],
            category_ids=list(range(classes)),
        )
    return made.eval()


def crowded(seed: int, boxes: int = 9, side: int = 128, classes: int = 3) -> Target:
    """Boxes of all sizes that overlap each other."""
    chance = torch.Generator().manual_seed(seed)
    center = torch.rand(boxes, 2, generator=chance) * side
    half = (4 + torch.rand(boxes, 2, generator=chance) ** 2 * side / 2) / 2
    xyxy = torch.cat([center - half, center + half], dim=1).clamp(0, side)
    keep = ((xyxy[:, 2:] - xyxy[:, :2]) >= 1).all(dim=1)
    labels = torch.randint(0, classes, (boxes,), generator=chance)
    return Target(xyxy[keep], labels[keep])


def said(points: int, classes: int, seed: int, **more: Any) -> Prediction:
    """A prediction at random, whose boxes are near their points."""
    chance = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=chance)

    return Prediction(
        cls_logits=draw(1, points, classes) * 2 - 1,
        ltrb_px=draw(1, points, 4).exp() * 24,
        quality_logits=draw(1, points),
        **more,
    )
