"""Detectors that find something in noise, of every method."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

import hydra
import numpy as np
import torch
from numpy.typing import NDArray

from fcos_lightning.detector import DenseDetector
from fcos_lightning.runs.config.composed import config_dir
from fcos_lightning.runs.objects.instantiate import make

METHODS = sorted(file.stem for file in (config_dir() / "method").glob("*.yaml"))

_SMALL = (
    "model=tiny",
    "model.backbone.widths=[8,8,16,16]",
    "model.fpn.channels=16",
    "model.head.num_convs=1",
)


def lively(method: str = "fcos", *words: str, **decoder: Any) -> DenseDetector:
    """A detector whose head finds many things; ``decoder`` changes options of its decoder."""
    detector = copy.deepcopy(_built(method, words))
    if decoder:
        import dataclasses

        detector.decoder = dataclasses.replace(detector.decoder, **decoder)  # type: ignore[type-var]
    return detector


@cache
def _built(method: str, words: tuple[str, ...]) -> DenseDetector:
    torch.manual_seed(0)
    with hydra.initialize_config_dir(str(config_dir()), version_base="1.3"):
        config = hydra.compose("train", [f"method={method}", *_SMALL, *words])
    detector = make(config, "model", class_names=("cat", "dog", "cow"), category_ids=(1, 2, 3))
    assert isinstance(detector, DenseDetector)
    with torch.no_grad():
        for name, parameter in detector.head.named_parameters():
            if name.startswith("cls_logits"):
                parameter.normal_(std=0.2)
    return detector.eval()


def noise(*sizes_hw: tuple[int, int]) -> list[tuple[str, NDArray[np.uint8]]]:
    """Images of coarse noise, which has something like objects, and their names."""
    random = np.random.default_rng(0)
    images = []
    for number, (height, width) in enumerate(sizes_hw):
        small = random.integers(0, 256, (-(-height // 8), -(-width // 8), 3), dtype=np.uint8)
        image = small.repeat(8, axis=0).repeat(8, axis=1)[:height, :width]
        images.append((f"noise {number}", np.ascontiguousarray(image)))
    return images
