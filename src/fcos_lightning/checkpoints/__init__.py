"""Checkpoints: our own format, and one file per foreign layout."""

from fcos_lightning.checkpoints.native import (
    describe,
    initialise,
    load_detector,
    load_weights,
    read_checkpoint,
)

__all__ = ["describe", "initialise", "load_detector", "load_weights", "read_checkpoint"]
