"""A detector that is made as another one is, for other classes: the start from a trained one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from fcos_lightning.checkpoints.checkpoint import Checkpoint
from fcos_lightning.detector import DenseDetector, build_detector
from fcos_lightning.errors import UserError, shown

#: What a part is called where a checkpoint does not say.
_USUAL = {
    "backbone": "resnet50",
    "head": "fcos",
    "assigner": "fcos",
    "loss": "fcos",
    "decoder": "nms",
}
#: Options of other parts that a method settles, and that mean nothing to a head of another name.
_OF_THE_METHOD = {
    "grid": ("anchor_scales", "anchor_ratios", "square_scales"),
    "fpn": ("only", "top_down"),
}
_CLASSES = ("num_classes", "class_names", "category_ids")


def build_like(
    checkpoint: str | None,
    *,
    num_classes: int | None = None,
    class_names: Sequence[str] | None = None,
    category_ids: Sequence[int] | None = None,
    **changes: Mapping[str, Any],
) -> DenseDetector:
    """Return a detector with fresh weights that is made as that of a checkpoint.

    So its weights can all be taken over: it sees images normalised as it did, and its head predicts
    distances in the same unit.

    Args:
        checkpoint: a file, or the name of a published one.
        num_classes: see ``build_detector``.
        class_names: see ``build_detector``.
        category_ids: see ``build_detector``.
        **changes: options of parts, by the keys of ``build_detector``, that differ; a part of
            another name takes the place of the checkpoint's altogether. With a head of another
            name the checkpoint's anchors and choice of levels, which its method settled, go too.

    Raises:
        UserError: if there is no checkpoint, it cannot be read, or it is made of code of
            somebody's own.
    """
    if checkpoint is None:
        raise UserError(
            "model=as_init: init_from is missing, a checkpoint or the name of a published one, as "
            "init_from=official/FCOS_imprv_R_50_FPN_1x (to a command that has no init_from= give "
            "model.checkpoint=)"
        )
    with torch.device("cpu"):  # wherever the detector itself is made
        read = Checkpoint.read(checkpoint)
    spec = {key: value for key, value in read.spec.items() if key not in _CLASSES}
    for key, name in sorted((spec.pop("custom", None) or {}).items()):
        raise UserError(
            f"init_from={checkpoint}: its {shown(key)[1:-1]} is {shown(name)[1:-1]}, code that a "
            "checkpoint does not carry; choose model=NAME and method=NAME as it was trained with"
        )
    if _is_another("head", spec.get("head"), changes.get("head", {})):
        for key, options in _OF_THE_METHOD.items():
            if spec.get(key):
                spec[key] = {k: v for k, v in spec[key].items() if k not in options}
    for key, change in changes.items():
        spec[key] = _changed(key, spec.get(key), change)
    return build_detector(
        num_classes=num_classes, class_names=class_names, category_ids=category_ids, **spec
    )


def _changed(key: str, own: object, change: Mapping[str, Any]) -> dict[str, Any]:
    if _is_another(key, own, change) or not isinstance(own, Mapping):
        return dict(change)
    return {**own, **change}


def _is_another(key: str, own: object, change: Mapping[str, Any]) -> bool:
    """Whether a change names another part than the checkpoint has."""
    name = own.get("name") if isinstance(own, Mapping) else None
    return "name" in change and change["name"] != (name or _USUAL.get(key))
