"""What is asked of a predictor: which scores are enough, and at which size it looks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from fcos_lightning.checkpoints import Checkpoint
from fcos_lightning.errors import UserError
from fcos_lightning.evaluation.thresholds import Thresholds

if TYPE_CHECKING:
    from fcos_lightning.detector import DenseDetector


def least_scores(
    detector: DenseDetector,
    score_threshold: float,
    thresholds: Mapping[str, float] | str | Path | None,
) -> float | Tensor:
    """Return the score that detections need: one for all classes, or ``[C]`` one for each."""
    if thresholds is None:
        return score_threshold
    if isinstance(thresholds, Mapping):
        chosen = Thresholds(score_threshold, thresholds)
    elif score_threshold:
        raise UserError(
            f"score_threshold={score_threshold}: thresholds={thresholds} has one for all classes "
            "and for each; give one of the two"
        )
    else:
        chosen = Thresholds.read(thresholds)
    return torch.tensor(chosen.of_classes(detector.class_names, detector.category_ids))


def sides_of(
    checkpoint: Checkpoint,
    shorter_side: int | None = None,
    longer_side: int | None = None,
) -> tuple[int, int]:
    """Return the sides that images are resized to: those given, else the checkpoint's.

    Args:
        checkpoint: that says how it was evaluated.
        shorter_side: as given, in pixels.
        longer_side: as given, in pixels.

    Raises:
        UserError: if nobody says, or what is given does not fit the checkpoint's other side.
    """
    sides = {"shorter_side": shorter_side, "longer_side": longer_side}
    for key, given in sides.items():
        if given is None:
            sides[key] = checkpoint.about.get(key)
    missing = [f"{key}=" for key, side in sides.items() if side is None]
    if missing:
        raise UserError(
            f"checkpoint {checkpoint.path} does not say at which size it was evaluated; give "
            f"{' and '.join(missing)} in pixels, for the paper's detectors 800 and 1333"
        )
    shorter, longer = sides["shorter_side"], sides["longer_side"]
    assert shorter is not None and longer is not None
    numbers = isinstance(shorter, int) and isinstance(longer, int)
    if (shorter_side or longer_side) and numbers and longer < shorter:
        raise UserError(
            f"longer_side={longer} is below shorter_side={shorter}; what is not given is the "
            "checkpoint's; give both"
        )
    return shorter, longer
