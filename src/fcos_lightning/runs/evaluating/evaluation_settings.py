"""What evaluation takes of a configuration, at the end of a run and in ``fcos-test``."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Literal

import torch
from omegaconf import DictConfig, OmegaConf

from fcos_lightning.data.readers.plausible import NO_AREA, OUTSIDE, TOO_FAR
from fcos_lightning.data.splits import DataSplit
from fcos_lightning.detector import DenseDetector
from fcos_lightning.errors import UserError
from fcos_lightning.inference.folded import for_inference
from fcos_lightning.runs.objects.instantiate import check_part, make
from fcos_lightning.runs.options.trainer import check_trainer
from fcos_lightning.training.testing import ASKED_FOR, EVALUATION_SETTINGS


def evaluation_settings(config: DictConfig) -> dict[str, Any]:
    """Return the settings of ``trainer`` that evaluation uses, with a strategy of its own."""
    settings: Any = OmegaConf.to_container(config.trainer, resolve=True)
    settings = {key: value for key, value in settings.items() if key in EVALUATION_SETTINGS}
    if isinstance(config.trainer.get("strategy"), DictConfig):
        settings["strategy"] = make(config.trainer, "strategy")
    return dict(settings)


def asked_settings(config: DictConfig, given: Collection[str]) -> dict[str, Any]:
    """Return the settings of ``trainer`` for ``fcos-test``, which tests and does nothing else.

    Args:
        config: of the command.
        given: keys that the command line gives.

    Raises:
        UserError: if one is about training, or looks at no image.
    """
    known = (*EVALUATION_SETTINGS, *ASKED_FOR, "enable_progress_bar")
    for key in given:
        part, _, name = key.partition(".")
        if part == "trainer" and name and name.split(".")[0] not in known:
            raise UserError(f"{key}: is about training; fcos-test takes of trainer", choices=known)
    check_trainer(check_part(config, "trainer"))
    if config.trainer.get("limit_val_batches") == 0:
        raise UserError("trainer.limit_val_batches=0: there would be nothing to measure")
    asked = {key: config.trainer.get(key) for key in ASKED_FOR}
    return evaluation_settings(config) | {k: v for k, v in asked.items() if v is not None}


def sized_as_trained(config: DictConfig, about: Mapping[str, Any], given: Collection[str]) -> str:
    """Let images be resized as the checkpoint says, unless the command line says otherwise.

    Args:
        config: of the command; ``data`` is changed in place.
        about: what the checkpoint says of its training.
        given: keys that the command line gives.

    Returns:
        At which size is measured, for people.
    """
    sides, otherwise = [], []
    for name in ("shorter_side", "longer_side"):
        trained, key = about.get(name), f"data.{name}"
        if trained is not None and name in config.data:
            if key not in given:
                config.data[name] = trained
            elif config.data[name] != trained:
                otherwise.append(f"{trained} as {name}")
        sides.append(str(config.data.get(name)))
    trained_at = f" (the checkpoint says {', '.join(otherwise)})" if otherwise else ""
    return f"shorter side {sides[0]}, longer at most {sides[1]}{trained_at}"


def left_out(split: DataSplit) -> dict[str, int]:
    """Return the boxes, by reason, that others would count with the same annotations."""
    return {
        reason: number
        for reason, number in split.dropped.items()
        if reason in (NO_AREA, OUTSIDE, TOO_FAR)
    }


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
