"""The detector as a library: imports torch and torchvision only."""

from fcos_lightning.detector.assign import assign
from fcos_lightning.detector.backbone import Backbone, build_backbone
from fcos_lightning.detector.build import build_fcos
from fcos_lightning.detector.decode import decode
from fcos_lightning.detector.fcos import FCOS
from fcos_lightning.detector.fpn import FPN
from fcos_lightning.detector.head import Head
from fcos_lightning.detector.inference import for_inference
from fcos_lightning.detector.loss import fcos_loss, normalisers_of
from fcos_lightning.detector.points import make_points

__all__ = [
    "FCOS",
    "FPN",
    "Backbone",
    "Head",
    "assign",
    "build_backbone",
    "build_fcos",
    "decode",
    "fcos_loss",
    "for_inference",
    "make_points",
    "normalisers_of",
]
