"""torchvision's ``retinanet_resnet50_fpn`` and its second version: no ``bbox_ctrness``.

- The second version has GroupNorm in its towers, P6 from C5, and learns GIoU instead of offsets.
- Input: RGB less ImageNet's means, divided by its deviations; the net strides in its 3x3.
- Anchors have offset 0 and lie image size // map size apart, see ``make_points``.
- Recipes: ``trained``, and ``published`` for torchvision's own first file, of the first version:
  its frozen BatchNorm is evaluated with nothing added to the variance, ours adds 1e-5; that is
  taken off the variances.
- Labels are as torchvision gives them, see ``torchvision_fcos.py``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from torch import Tensor

from fcos_lightning.checkpoints.layouts.torchvision_fcos import NET_RULES, labels_of
from fcos_lightning.checkpoints.translation.conventions import Source, Translation
from fcos_lightning.checkpoints.translation.derive import need, net_of, stride_on, without_epsilon
from fcos_lightning.checkpoints.translation.naming import Rule, renamed
from fcos_lightning.errors import UserError

NAME = "torchvision's RetinaNet"
RECIPES = ("trained", "published")

#: Sizes and ratios of a cell's anchors; torchvision keeps them in code.
_GRID = {
    "offset": 0.0,
    "spacing": "image",
    "anchor_scales": [4.0, 5.0397, 6.3496],
    "anchor_ratios": [0.5, 1.0, 2.0],
}
_ANCHORS = 9

_CLS, _BOX = "head.classification_head.", "head.regression_head."


def recognises(keys: Collection[str]) -> bool:
    """Tell by the keys whether a file is of this layout."""
    return f"{_BOX}bbox_reg.weight" in keys and f"{_BOX}bbox_ctrness.weight" not in keys


def translate(source: Source, recipe: str | None) -> Translation:
    """Return a file of this layout in our terms."""
    second = f"{_CLS}conv.0.1.weight" in source.weights
    weights = renamed(source.weights, (*NET_RULES, *_head_rules(3 if second else 2)))
    need(weights, "head.cls_logits.weight", "head.box_offsets.weight")
    net = net_of(weights)
    if on := stride_on(weights, caffe=False):
        net["backbone"]["stride_on"] = on
    if recipe == "published" and net["backbone"]["norm"] == "frozen":
        weights = without_epsilon(weights)
    anchors, left = divmod(weights["head.box_offsets.weight"].shape[0], 4)
    number, uneven = divmod(weights["head.cls_logits.weight"].shape[0], _ANCHORS)
    if anchors != _ANCHORS or left or uneven:
        raise UserError(f"it has {anchors} anchors a cell; torchvision's RetinaNet has {_ANCHORS}")
    head = _head(weights, net["fpn"]["channels"], second)
    return Translation(
        spec={
            **net,
            **labels_of(number, source.class_names),
            "num_classes": number,
            "grid": _GRID,
            "head": head,
            "assigner": {"name": "anchors"},
            "loss": {
                "name": "retinanet",
                "box_loss": "giou" if second else "l1",
                "divide_by": "image",
            },
            "decoder": {"name": "nms", "score": "class", "nms_iou": 0.5, "max_detections": 300},
            "input": None,
        },
        weights=weights,
    )


def _head(weights: Mapping[str, Tensor], channels: int, second: bool) -> dict[str, object]:
    """Return the options of the head as the tensors show them."""
    convs = [
        int(match[1])
        for key, value in weights.items()
        if (match := re.fullmatch(r"head\.cls_tower\.(\d+)\.weight", key)) and value.ndim == 4
    ]
    width = weights["head.cls_logits.weight"].shape[1]
    return {
        "name": "retinanet",
        "num_convs": len(convs),
        "channels": None if width == channels else int(width),
        "norm": "group" if second else "none",
        "tower_bias": "head.cls_tower.0.bias" in weights,
    }


def _head_rules(layers: int) -> tuple[Rule, ...]:
    """Return the rules for the head.

    Args:
        layers: in a row, of a convolution of our towers with what belongs to it.
    """
    rules: list[Rule] = []
    for theirs, ours in ((_CLS, "cls_tower"), (_BOX, "box_tower")):
        rules += [
            (
                re.escape(theirs) + r"conv\.(\d+)\.([01])\.(\w+)",
                lambda m, ours=ours: f"head.{ours}.{int(m[1]) * layers + int(m[2])}.{m[3]}",  # type: ignore[misc]
            ),
            # Files from before torchvision 0.13 count convolutions and ReLUs in one row, as ours.
            (re.escape(theirs) + r"conv\.(\d+)\.(\w+)", rf"head.{ours}.\1.\2"),
        ]
    return (
        *rules,
        (re.escape(_CLS) + r"cls_logits\.(\w+)", r"head.cls_logits.\1"),
        (re.escape(_BOX) + r"bbox_reg\.(\w+)", r"head.box_offsets.\1"),
    )
