"""The detector as a library: imports torch and torchvision only."""

from typing import TYPE_CHECKING

from fcos_lightning.backbones.build import Backbone, build_backbone
from fcos_lightning.detector.assigners.fcos import FCOSAssigner, assign
from fcos_lightning.detector.build import build_detector, build_fcos
from fcos_lightning.detector.decoders.nms import NMSDecoder, decode
from fcos_lightning.detector.dense import DenseDetector
from fcos_lightning.detector.fpn import FPN
from fcos_lightning.detector.grid import Grid, make_points
from fcos_lightning.detector.heads.fcos import FCOSHeadOptions, Head
from fcos_lightning.detector.losses.fcos import FCOSLoss, fcos_loss

if TYPE_CHECKING:
    from fcos_lightning.inference.folded import for_inference

#: What version 0.1 called it, when FCOS was the only one.
FCOS = DenseDetector

__all__ = [
    "FCOS",
    "FPN",
    "Backbone",
    "DenseDetector",
    "FCOSAssigner",
    "FCOSHeadOptions",
    "FCOSLoss",
    "Grid",
    "Head",
    "NMSDecoder",
    "assign",
    "build_backbone",
    "build_detector",
    "build_fcos",
    "decode",
    "fcos_loss",
    "for_inference",
    "make_points",
]


def __getattr__(name: str) -> object:
    # It lives where detectors are put to use; version 0.1 had it here.
    if name == "for_inference":
        import importlib

        return importlib.import_module("fcos_lightning.inference.folded").for_inference
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
