"""Checkpoints: our own format, and one file for each layout of other projects."""

from fcos_lightning.checkpoints.checkpoint import Checkpoint, load_detector
from fcos_lightning.checkpoints.native import describe

__all__ = ["Checkpoint", "describe", "load_detector"]
