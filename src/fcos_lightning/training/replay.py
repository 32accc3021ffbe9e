"""A training step that went wrong, kept so that it can be looked at again."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from fcos_lightning.checkpoints import Checkpoint
from fcos_lightning.checkpoints.native import KEY, PREFIX, describe
from fcos_lightning.detector import DenseDetector
from fcos_lightning.errors import UserError
from fcos_lightning.structures import Images, Losses, Targets
from fcos_lightning.training.checkpoint_io import AtomicCheckpointIO


def save_replay(
    file: Path, detector: DenseDetector, images: Images, targets: Targets, image_ids: torch.Tensor
) -> None:
    """Write the weights and the batch of a step; plain data, which ``load_detector`` opens too.

    Args:
        file: to write.
        detector: as it was before the step.
        images: of the batch.
        targets: of the batch.
        image_ids: ``[B]``.
    """
    content: dict[str, Any] = {
        "state_dict": {f"{PREFIX}{k}": v.cpu() for k, v in detector.state_dict().items()},
        KEY: describe(detector),
        "batch": {
            "images": {k: v.cpu() for k, v in asdict(images).items()},
            "targets": {k: v.cpu() for k, v in asdict(targets).items() if v is not None},
            "image_ids": image_ids.cpu(),
        },
    }
    AtomicCheckpointIO().save_checkpoint(content, file)


def replay(file: str | Path, device: torch.device | str = "cpu") -> Losses:
    """Compute the losses of a step again that ``StopOnNonFinite`` kept.

    Args:
        file: a ``nonfinite.pt`` of a run folder.
        device: to compute on.

    Raises:
        UserError: if the file is not a checkpoint of this package, or holds no batch.
    """
    checkpoint = Checkpoint.read(file)
    detector = checkpoint.detector(device).train()
    try:
        batch: Any = checkpoint.run["batch"]
        images, targets = Images(**batch["images"]), Targets(**batch["targets"])
    except (KeyError, TypeError) as error:
        raise UserError(f"{file}: holds no batch of a step; give a nonfinite.pt") from error
    images, targets = images.to(device), targets.to(device)
    points, prediction = detector.grid(images), detector(images)
    return detector.loss(prediction, detector.assign(points, targets, prediction), points)
