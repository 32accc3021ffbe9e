"""Our own checkpoints: what Lightning writes, plus a plain description of the detector.

Files of other projects are translated into the same content on the way in, see ``foreign.py``.

The description stands under the key ``fcos`` and holds numbers, names and lists only. A detector
is built again by ``build_fcos`` from them; nothing that a file names is ever called.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from fcos_lightning.checkpoints.foreign import LAYOUTS, translated
from fcos_lightning.checkpoints.plain_file import KEY as KEY
from fcos_lightning.checkpoints.plain_file import PREFIX, SUFFIX, plain_content, weights_of
from fcos_lightning.checkpoints.published import checkpoint_file, recipe_for
from fcos_lightning.detector import FCOS, build_fcos
from fcos_lightning.errors import UserError
from fcos_lightning.weights.reading import read_file

FORMAT = 1


def describe(detector: FCOS, **more: object) -> dict[str, Any]:
    """Return what a checkpoint says about its detector; ``more`` must be plain as well."""
    return {"format": FORMAT, "spec": detector.spec, **more}


def read_checkpoint(path: str | Path, recipe: str | None = None) -> dict[str, Any]:
    """Read a checkpoint of ours or of another project, without running what the file may hold.

    Args:
        path: of the checkpoint, or the name of a published one, which is fetched once.
        recipe: for a foreign file whose tensors leave a choice, see the files about layouts.

    Raises:
        UserError: if there is no such file, it is no checkpoint that is known here, or a key of a
            foreign one has no place in the detector.
    """
    recipe, path = recipe_for(path, recipe), checkpoint_file(path)
    if path.is_dir():
        raise UserError(f"checkpoint {path}: is a folder; give a file, as checkpoints/best.ckpt")
    content = plain_content(path) if path.suffix == SUFFIX else None
    content = read_file(path, "checkpoint") if content is None else content
    if not isinstance(content, dict) or not isinstance(content.get(KEY), dict):
        return _foreign_content(content, path, recipe)
    if recipe is not None:
        raise UserError(f"recipe={recipe}: checkpoint {path} says itself how it was made")
    if content[KEY].get("format") != FORMAT:
        raise UserError(
            f"checkpoint {path}: format {content[KEY].get('format')} is not known to this version, "
            f"which reads {FORMAT}; update fcos-lightning"
        )
    return content


def _foreign_content(content: object, path: Path, recipe: str | None) -> dict[str, Any]:
    """Return what a checkpoint of ours with the same detector would hold."""
    found = translated(content, path, recipe)
    if found is None:
        names = ", ".join(layout.NAME for layout in LAYOUTS)
        raise UserError(
            f"checkpoint {path}: not written by fcos-train (it lacks the key {KEY!r}), nor of a "
            f"layout known here ({names}); give a best.ckpt or last.ckpt of a run folder"
        )
    layout, translation = found
    shorter, longer = translation.sides
    return {
        KEY: {
            "format": FORMAT,
            "spec": translation.spec,
            "layout": layout,
            "shorter_side": shorter,
            "longer_side": longer,
        },
        "state_dict": {f"{PREFIX}{key}": value for key, value in translation.weights.items()},
    }


def load_detector(
    path: str | Path,
    device: torch.device | str = "cpu",
    decoder: Mapping[str, Any] | None = None,
    recipe: str | None = None,
) -> FCOS:
    """Return the detector of a checkpoint of ours or of another project, in evaluation mode.

    Known are the official code's, AdelaiDet's, mmdetection's, torchvision's and detectron2's.

    Args:
        path: of the checkpoint, or the name of a published one, as
            ``official/FCOS_imprv_R_50_FPN_1x``, which is fetched once.
        device: where the detector shall lie.
        decoder: options of ``fcos_lightning.detector.decode`` to use instead of the checkpoint's.
        recipe: for a foreign file whose tensors leave a choice, as ``plain`` for the official
            code's first version; the files about layouts state them, and the default.

    Raises:
        UserError: if the file is not a checkpoint, or its weights do not fit its description.
    """
    return detector_of(read_checkpoint(path, recipe), path, device, decoder)


def detector_of(
    content: Mapping[str, Any],
    path: str | Path,
    device: torch.device | str = "cpu",
    decoder: Mapping[str, Any] | None = None,
) -> FCOS:
    """Return the detector of a checkpoint that was read, see ``load_detector``.

    Args:
        content: as ``read_checkpoint`` gives it.
        path: of the checkpoint, for messages.
        device: where the detector shall lie.
        decoder: see ``load_detector``.

    Raises:
        UserError: if the weights do not fit the description.
    """
    spec = _plain_spec(content, path)
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


def _plain_spec(content: Mapping[str, Any], path: str | Path) -> dict[str, Any]:
    """Return the description, of which nothing may be an object of a class that was not read."""
    spec = content[KEY].get("spec")
    try:
        json.dumps(spec)
    except (TypeError, ValueError):
        spec = None
    if not isinstance(spec, dict):
        raise UserError(f"checkpoint {path}: its description of the detector is not plain data")
    return dict(spec)


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
