"""What evaluation takes of a configuration, at the end of a run and in ``fcos-test``."""

from __future__ import annotations

from typing import Any, Literal

import torch
from omegaconf import DictConfig, OmegaConf

from fcos_lightning.detector import DenseDetector
from fcos_lightning.inference.folded import for_inference
from fcos_lightning.runs.instantiate import make
from fcos_lightning.training.testing import EVALUATION_SETTINGS


def evaluation_settings(config: DictConfig) -> dict[str, Any]:
    """Return the settings of ``trainer`` that evaluation uses, with a strategy of its own."""
    settings: Any = OmegaConf.to_container(config.trainer, resolve=True)
    settings = {key: value for key, value in settings.items() if key in EVALUATION_SETTINGS}
    if isinstance(config.trainer.get("strategy"), DictConfig):
        settings["strategy"] = make(config.trainer, "strategy")
    return dict(settings)


def quicker(
    detector: DenseDetector, accelerator: str, channels_last: bool | Literal["auto"] = "auto"
) -> DenseDetector:
    """Return a copy of a detector that is evaluated in less time, see ``for_inference``.

    Args:
        detector: to be measured.
        accelerator: of the Trainer that will choose the device.
        channels_last: see ``for_inference``.
    """
    device = None if accelerator == "cpu" else torch.accelerator.current_accelerator()
    return for_inference(detector, channels_last, device or "cpu")
