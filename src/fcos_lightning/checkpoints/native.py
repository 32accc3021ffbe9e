"""Our own checkpoints: what Lightning writes, plus a plain description of the detector.

Files of other projects are translated into the same content on the way in, see ``foreign.py``.

The description stands under the key ``fcos`` and holds numbers, names and lists only. A detector
is built again by ``build_fcos`` from them; nothing that a file names is ever called.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fcos_lightning.checkpoints.description import checked_description
from fcos_lightning.checkpoints.fitting import Unfilled, check_fit, check_same, fits
from fcos_lightning.checkpoints.foreign import LAYOUTS, translated
from fcos_lightning.checkpoints.plain_file import KEY as KEY
from fcos_lightning.checkpoints.plain_file import PREFIX, SUFFIX, plain_content, weights_of
from fcos_lightning.checkpoints.published import checkpoint_file, recipe_for
from fcos_lightning.detector import FCOS, build_fcos
from fcos_lightning.errors import UserError, shown
from fcos_lightning.weights.reading import read_file

FORMAT = 1

#: Kinds of numbers that weights are kept in.
_DTYPES = {
    torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.bool, torch.uint8,
    torch.int8, torch.int16, torch.int32, torch.int64,
}  # fmt: skip


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
    read = plain_content(path) if path.suffix == SUFFIX else read_file(path, "checkpoint")
    if not isinstance(read, dict) or KEY not in read:
        return _foreign_content(read, path, recipe)
    if recipe is not None:
        raise UserError(f"recipe={recipe}: checkpoint {path} says itself how it was made")
    with _about(path):
        return _checked(read)


@contextmanager
def _about(path: str | Path) -> Iterator[None]:
    """Say of which file an error is."""
    try:
        yield
    except UserError as error:
        raise UserError(f"checkpoint {path}: {error}") from error


def _checked(content: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the content of a checkpoint of ours, after a look at all that is read of it later.

    Raises:
        UserError: if something is not of the kind it should be.
    """
    described = content[KEY]
    version = described.get("format") if isinstance(described, dict) else None
    if type(version) is int and version != FORMAT:
        raise UserError(
            f"format {shown(version)} is not known to this version, which reads {FORMAT}; update "
            "fcos-lightning"
        )
    weights = content.get("state_dict")
    if not isinstance(weights, dict):
        raise UserError("it has no weights, under state_dict")
    for key, value in weights.items():
        if not isinstance(key, str):
            raise UserError(f"among its weights is the name {shown(key)}")
        if key.startswith(PREFIX) and not isinstance(value, Tensor):
            raise UserError(f"its weight {shown(key)[1:-1]} is {shown(value)}, no tensor")
        if key.startswith(PREFIX) and value.dtype not in _DTYPES:
            raise UserError(f"its weight {shown(key)[1:-1]} is of {value.dtype}, no real numbers")
    logged = content.get("fcos_logged")
    if logged is not None and not (
        isinstance(logged, dict)
        and {"csv_rows", "steps"} <= set(logged)
        and all(n is None or (type(n) is int and 0 <= n < 2**63) for n in logged.values())
    ):
        raise UserError(f"its fcos_logged is {shown(logged)}, not how far its logs went")
    return {**content, KEY: checked_description(described)}


def _foreign_content(read: object, path: Path, recipe: str | None) -> dict[str, Any]:
    """Return what a checkpoint of ours with the same detector would hold."""
    found = translated(read, path, recipe)
    if found is None:
        names = ", ".join(layout.NAME for layout in LAYOUTS)
        raise UserError(
            f"checkpoint {path}: not written by fcos-train (it lacks the key {KEY!r}), nor of a "
            f"layout known here ({names}); give a best.ckpt or last.ckpt of a run folder"
        )
    layout, translation = found
    shorter, longer = translation.sides
    content = {
        KEY: {
            "format": FORMAT,
            "spec": translation.spec,
            "layout": layout,
            "shorter_side": shorter,
            "longer_side": longer,
        },
        "state_dict": {f"{PREFIX}{key}": value for key, value in translation.weights.items()},
    }
    with _about(path):
        return _checked(content)


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
    spec = dict(content[KEY]["spec"])
    custom = spec.pop("custom", {})
    needed = sorted(set(custom) & {"backbone", "fpn", "head"})
    if needed:
        parts = ", ".join(f"{key} is {shown(custom[key])[1:-1]}" for key in needed)
        raise UserError(
            f"checkpoint {path}: its {parts}, code "
            "that a checkpoint does not carry; build the detector and use load_weights"
        )
    # All weights are in the file, whatever it says: nothing is fetched or read from elsewhere.
    if spec.get("backbone"):
        spec["backbone"] = {**spec["backbone"], "weights": None}
    with _about(path):
        check_fit(spec, weights_of(content))
    if decoder:
        spec["decoder"] = {**(spec.get("decoder") or {}), **decoder}
    with Unfilled():
        detector = build_fcos(**spec)
    detector.load_state_dict(weights_of(content))
    return detector.to(device).eval()


def load_weights(detector: FCOS, content: Mapping[str, Any], path: str | Path) -> None:
    """Fill a detector with all weights of a checkpoint's content.

    Raises:
        UserError: if a key is missing, left over, or of another shape.
    """
    given = weights_of(content)
    with _about(path):
        check_same(detector.state_dict(), given)
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
    fitting = {k: v for k, v in given.items() if k in own and fits(own[k], v)}
    if not fitting:
        raise UserError(f"init_from={path}: not one of its weights fits this model")
    detector.load_state_dict(fitting, strict=False)
    return sorted(set(own) - set(fitting))
