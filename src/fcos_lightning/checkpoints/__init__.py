"""Checkpoints: our own format, and one file for each layout of other projects."""

from fcos_lightning.checkpoints.checkpoint import Checkpoint, load_detector
from fcos_lightning.checkpoints.earlier import initialise, load_weights, read_checkpoint
from fcos_lightning.checkpoints.like import build_like
from fcos_lightning.checkpoints.native import describe

__all__ = [
    "Checkpoint",
    "build_like",
    "describe",
    "initialise",
    "load_detector",
    "load_weights",
    "read_checkpoint",
]
