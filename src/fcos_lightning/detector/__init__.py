"""The detector as a library: imports torch and torchvision only."""

from fcos_lightning.detector.assigners.fcos import FCOSAssigner, assign
from fcos_lightning.detector.backbone import Backbone, build_backbone
from fcos_lightning.detector.build import build_detector, build_fcos
from fcos_lightning.detector.decoders.nms import NMSDecoder, decode
from fcos_lightning.detector.dense import DenseDetector
from fcos_lightning.detector.fpn import FPN
from fcos_lightning.detector.grid import Grid, make_points
from fcos_lightning.detector.heads.fcos import FCOSHeadOptions, Head
from fcos_lightning.detector.inference import for_inference
from fcos_lightning.detector.losses.fcos import FCOSLoss, fcos_loss

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
