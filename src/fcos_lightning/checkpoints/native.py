"""Our own checkpoints: what Lightning writes, plus a plain description of the detector.

The description stands under the key ``fcos`` and holds numbers, names and lists only. A detector
is built again by ``build_fcos`` from them; nothing that a file names is ever called.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fcos_lightning.detector import FCOS, build_fcos
from fcos_lightning.detector.reading import read_file
from fcos_lightning.errors import UserError

KEY = "fcos"
FORMAT = 1
_PREFIX = "detector."


def describe(detector: FCOS, **more: object) -> dict[str, Any]:
    """Return what a checkpoint says about its detector; ``more`` must be plain as well."""
    return {"format": FORMAT, "spec": detector.spec, **more}


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint of ours without running anything that the file may hold.

    Raises:
        UserError: if there is no such file, or it is not one of our checkpoints.
    """
    path = Path(path)
    if path.is_dir():
        raise UserError(f"checkpoint {path}: is a folder; give a file, as checkpoints/best.ckpt")
    content = read_file(path, "checkpoint")
    if not isinstance(content, dict) or not isinstance(content.get(KEY), dict):
        raise UserError(
            f"checkpoint {path}: not written by fcos-train (it lacks the key {KEY!r}); "
            "give a best.ckpt or last.ckpt of a run folder"
        )
    if content[KEY].get("format") != FORMAT:
        raise UserError(
            f"checkpoint {path}: format {content[KEY].get('format')} is not known to this version, "
            f"which reads {FORMAT}; update fcos-lightning"
        )
    return content


def weights_of(content: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the detector's weights; with EMA these are the averaged ones."""
    return {
        key[len(_PREFIX) :]: value
        for key, value in content["state_dict"].items()
        if key.startswith(_PREFIX)
    }


def load_detector(
    path: str | Path,
    device: torch.device | str = "cpu",
    decoder: Mapping[str, Any] | None = None,
) -> FCOS:
    """Return the detector of a checkpoint, in evaluation mode.

    Args:
        path: of the checkpoint.
        device: where the detector shall lie.
        decoder: options of ``fcos_lightning.detector.decode`` to use instead of the checkpoint's.

    Raises:
        UserError: if the file is not a checkpoint, or its weights do not fit its description.
    """
    content = read_checkpoint(path)
    spec = dict(content[KEY]["spec"])
    custom = spec.pop("custom", {})
    needed = sorted(set(custom) & {"backbone", "fpn", "head"})
    if needed:
        parts = ", ".join(f"{key} is {custom[key]}" for key in needed)
        raise UserError(
            f"checkpoint {path}: its {parts}, code "
            "that a checkpoint does not carry; build the detector and use load_weights"
        )
    if decoder:
        spec["decoder"] = {**(spec.get("decoder") or {}), **decoder}
    detector = build_fcos(**spec)
    load_weights(detector, content, path)
    return detector.to(device).eval()


def load_weights(detector: FCOS, content: Mapping[str, Any], path: str | Path) -> None:
    """Fill a detector with all weights of a checkpoint's content.

    Raises:
        UserError: if a key is missing, left over, or of another shape.
    """
    given, own = weights_of(content), detector.state_dict()
    missing, unknown = sorted(set(own) - set(given)), sorted(set(given) - set(own))
    other = sorted(key for key in set(own) & set(given) if own[key].shape != given[key].shape)
    if missing or unknown or other:
        raise UserError(
            f"checkpoint {path}: weights do not fit the model; missing {missing[:3]}, "
            f"unknown {unknown[:3]}, of other shape {other[:3]} "
            f"({len(missing) + len(unknown) + len(other)} in all)"
        )
    detector.load_state_dict(given)


def initialise(detector: FCOS, path: str | Path) -> list[str]:
    """Start a detector from the weights of a checkpoint, as far as they fit.

    Returns:
        The detector's keys that keep their fresh values: those of another shape, as the class
        logits where the classes differ, and those the checkpoint lacks.

    Raises:
        UserError: if nothing fits.
    """
    given, own = weights_of(read_checkpoint(path)), detector.state_dict()
    fits = {k: v for k, v in given.items() if k in own and own[k].shape == v.shape}
    if not fits:
        raise UserError(f"init_from={path}: not one of its weights fits this model")
    detector.load_state_dict(fits, strict=False)
    return sorted(set(own) - set(fits))
