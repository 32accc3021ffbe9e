"""Pictures for the loggers that take them: TensorBoard, and those with ``log_image``."""

from __future__ import annotations

from typing import Any

import lightning as L
import numpy as np
from lightning.pytorch.loggers import TensorBoardLogger
from PIL import Image


def show_picture(trainer: L.Trainer, name: str, picture: Image.Image) -> None:
    """Give a picture to every logger of a run that can show it.

    Args:
        trainer: of the run; called by the first rank alone.
        name: under which the logger keeps it, a step beside the other.
        picture: of mode RGB.
    """
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            pixels = np.asarray(picture)
            logger.experiment.add_image(name, pixels, trainer.global_step, dataformats="HWC")
        elif hasattr(logger, "log_image"):  # Weights & Biases, and loggers of its make
            taking: Any = logger
            taking.log_image(key=name, images=[picture], step=trainer.global_step)
