"""What is asked of a predictor: by which names, which scores are enough, at which size it looks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from fcos_lightning.checkpoints import Checkpoint
from fcos_lightning.checkpoints.checkpoint import PARTS
from fcos_lightning.errors import UserError
from fcos_lightning.evaluation.thresholds import Thresholds
from fcos_lightning.structures.batches import LARGEST_SIDES

if TYPE_CHECKING:
    from fcos_lightning.inference.engines.finder import Finder

#: Options of ``Predictor.load`` that are plain values, and what some are called elsewhere.
_OPTIONS = (
    *("device", "backend", "score_threshold", "thresholds", "shorter_side", "longer_side"),
    *("channels_last", "batch_size", "tiles", "tiles_overlap", "recipe"),
)
_ALSO_CALLED = {
    **dict.fromkeys(("threshold", "conf", "confidence", "score_thresh"), "score_threshold"),
    **dict.fromkeys(("imgsz", "min_size"), "shorter_side"),
    "max_size": "longer_side",
    "batch": "batch_size",
}


def least_scores(
    detector: Finder,
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
    own = (checkpoint.about.get("shorter_side"), checkpoint.about.get("longer_side"))
    return complete_sides(f"checkpoint {checkpoint.path}", own, (shorter_side, longer_side))


def said_sides(about: Mapping[str, Any]) -> dict[str, int | None]:
    """Return the sides that a checkpoint says images were resized to, as its copies state them."""
    return {key: about.get(key) for key in LARGEST_SIDES}


def complete_sides(
    whose: str,
    own: tuple[int | None, int | None],
    asked: tuple[int | None, int | None] = (None, None),
) -> tuple[int, int]:
    """Return the shorter and the longer side that images are resized to, in pixels.

    Args:
        whose: the file that ``own`` stands in, for messages.
        own: the sides that it says.
        asked: those to use instead.

    Raises:
        UserError: if nobody says, or what is asked for does not fit the other side.
    """
    chosen = [mine if given is None else given for mine, given in zip(own, asked, strict=True)]
    names = ("shorter_side=", "longer_side=")
    missing = [name for name, side in zip(names, chosen, strict=True) if side is None]
    shorter, longer = chosen
    if shorter is None or longer is None:
        raise UserError(
            f"{whose} does not say at which size it was evaluated; give "
            f"{' and '.join(missing)} in pixels, for the paper's detectors 800 and 1333"
        )
    numbers = isinstance(shorter, int) and isinstance(longer, int)
    if any(asked) and numbers and longer < shorter:
        raise UserError(
            f"longer_side={longer} is below shorter_side={shorter}; what is not given is the "
            "checkpoint's; give both"
        )
    return shorter, longer


def check_numbers(score_threshold: float, **counts: int) -> None:
    """Refuse numbers of a predictor that are out of their range.

    Args:
        score_threshold: 0 to 1.
        **counts: 1 or more; sides at most so many pixels as any image has.

    Raises:
        UserError: naming the first.
    """
    for name, value in counts.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise UserError(f"{name}={value}: give a whole number of at least 1")
        if value > LARGEST_SIDES.get(name, value):
            raise UserError(f"{name}={value}: give at most {LARGEST_SIDES[name]} pixels")
    is_number = isinstance(score_threshold, int | float) and not isinstance(score_threshold, bool)
    if not is_number or not 0 <= score_threshold <= 1:
        raise UserError(f"score_threshold={score_threshold}: give 0 to 1")


def check_names(parts: Iterable[str]) -> None:
    """Refuse what is no part of a detector and looks like a mistyped option of ``Predictor.load``.

    Raises:
        UserError: naming the option that is meant.
    """
    for name in parts:
        if name not in PARTS:
            near = [_ALSO_CALLED[name]] if name in _ALSO_CALLED else []
            if near := near or get_close_matches(name, _OPTIONS, 1):
                raise UserError(f"Predictor.load has no {name}=; give {near[0]}=")
