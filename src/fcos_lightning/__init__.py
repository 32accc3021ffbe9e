"""FCOS, the anchor-free one-stage detector, as a PyTorch Lightning training framework.

The names below are loaded on first use, so that ``import fcos_lightning`` and the commands' help
cost no import of torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fcos_lightning.late_matplotlib import import_matplotlib_late
from fcos_lightning.moved import find_moved
from fcos_lightning.storage.font_list import keep_font_list_whole

__version__ = "0.1.0"

if TYPE_CHECKING:
    from fcos_lightning.checkpoints import load_detector
    from fcos_lightning.detector import build_detector, build_fcos
    from fcos_lightning.inference import Predictor
    from fcos_lightning.runs.train import train
    from fcos_lightning.structures import Detections, Target

__all__ = [
    "Detections",
    "Predictor",
    "Target",
    "build_detector",
    "build_fcos",
    "load_detector",
    "train",
]

_HOMES = {
    "Detections": "fcos_lightning.structures",
    "Predictor": "fcos_lightning.inference",
    "Target": "fcos_lightning.structures",
    "build_detector": "fcos_lightning.detector",
    "build_fcos": "fcos_lightning.detector",
    "load_detector": "fcos_lightning.checkpoints",
    "train": "fcos_lightning.runs.train",
}


find_moved()
keep_font_list_whole()
import_matplotlib_late()


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
