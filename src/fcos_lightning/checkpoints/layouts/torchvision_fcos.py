"""torchvision's ``fcos_resnet50_fpn``: keys ``head.classification_head...``.

- One recipe: ReLU, anchor sizes (which are the strides), no learnable scales, centerness on the
  box tower, GIoU, size ranges without their ends.
- Input: RGB less ImageNet's means, divided by its deviations; the net strides in its 3x3.
- Points have offset 0 and lie image size // map size apart, see ``make_points``.
- The threshold of .2 is one on the score.
- Labels are as torchvision gives them: class 0 is background, and of 91 classes the label is COCO's
  category id.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from fcos_lightning.checkpoints.fitting import without_memory
from fcos_lightning.checkpoints.translation.conventions import (
    Source,
    Translation,
    classes_of,
    coco_categories_with_gaps,
)
from fcos_lightning.checkpoints.translation.derive import spec_of, stride_on
from fcos_lightning.checkpoints.translation.naming import Rule, renamed, translator
from fcos_lightning.errors import UserError
from fcos_lightning.printing import some_of

NAME = "torchvision"
RECIPES = ("improved",)

#: The conventions listed above, as options of ``build_fcos``.
CONVENTIONS: dict[str, Any] = {
    "assigner": {"center_radius": 1.5, "range_ends": "exclusive"},
    "loss": {"box_loss": "giou", "box_epsilon": "plain", "box_weight": "none"},
    "decoder": {"score_threshold": 0.2, "threshold_on": "score"},
    "input": None,
    "grid": {"offset": 0.0, "spacing": "image"},
}


def recognises(keys: Collection[str]) -> bool:
    """Tell by the keys whether a file is of this layout; RetinaNet's has no ``bbox_ctrness``."""
    return "head.regression_head.bbox_ctrness.weight" in keys


def translate(source: Source, recipe: str | None) -> Translation:
    """Return a file of this layout in our terms."""
    weights = renamed(source.weights, _RULES)
    spec = spec_of(weights)
    if on := stride_on(weights, caffe=False):
        spec["backbone"]["stride_on"] = on
    classes = labels_of(spec["num_classes"], source.class_names)
    return Translation(spec={**spec, **classes, **CONVENTIONS}, weights=weights)


def labels_of(number: int, names: tuple[str, ...] | None) -> dict[str, Any]:
    """Return class names and category ids of so many logits, as torchvision gives its labels."""
    categories = coco_categories_with_gaps()
    if number == len(categories) and names is None:
        return {"class_names": categories, "category_ids": list(range(number))}
    return classes_of(number, names)


def for_torchvision(
    spec: Mapping[str, Any], own_weights: Mapping[str, Tensor], path: str | Path
) -> tuple[dict[str, Tensor], list[str]]:
    """Return the weights of a checkpoint under torchvision's names.

    Args:
        spec: of the checkpoint.
        own_weights: likewise.
        path: likewise, for messages.

    Returns:
        The weights, and the options of ``build_fcos`` in which torchvision's detector differs.

    Raises:
        UserError: if torchvision's detector has no place for one of the weights.
    """
    name_of = translator(_BACK)
    result: dict[str, Tensor] = {}
    left: list[str] = []
    for own_name, value in own_weights.items():
        their_name = name_of(own_name)
        if their_name is not None:
            result[their_name] = value
        elif own_name != "head.scales":
            left.append(own_name)
        elif not bool((value == 1).all()):
            raise UserError(
                f"checkpoint {path}: torchvision's detector has no scales of levels, and those of "
                "this one are not 1"
            )
    if left:
        raise UserError(
            f"checkpoint {path}: torchvision's detector has no place for {len(left)} of its "
            f"weights: {some_of(sorted(left))}"
        )
    # With every option written out, whatever version of this package wrote the description.
    ours = without_memory(spec, len(own_weights)).spec
    theirs = without_memory({**ours, **CONVENTIONS}, len(own_weights)).spec
    otherwise = [key for key in CONVENTIONS if ours.get(key) != theirs[key]]
    for part, option, chosen in (
        ("backbone", "stride_on", "3x3"),
        ("head", "distances", "relu"),
        ("head", "quality_on", "box"),
        ("fpn", "p6_from", "p5"),
        ("fpn", "relu_before_p7", True),
    ):
        if (ours.get(part) or {}).get(option) not in (None, chosen):
            otherwise.append(f"{part}.{option}")
    return result, otherwise


_CLS, _BOX = "head.classification_head.", "head.regression_head."

#: Of torchvision's residual nets with a pyramid, whatever head is on them.
NET_RULES: tuple[Rule, ...] = (
    (r"backbone\.body\.conv1\.(\w+)", r"backbone.stages.0.0.\1"),
    (r"backbone\.body\.bn1\.(\w+)", r"backbone.stages.0.1.\1"),
    (r"backbone\.body\.layer([1-4])\.(.+)", r"backbone.stages.\1.\2"),
    # Files from before torchvision 0.13 lack the 0 between.
    (r"backbone\.fpn\.inner_blocks\.(\d)\.(?:0\.)?(weight|bias)", r"fpn.lateral.\1.\2"),
    (r"backbone\.fpn\.layer_blocks\.(\d)\.(?:0\.)?(weight|bias)", r"fpn.output.\1.\2"),
    (
        r"backbone\.fpn\.extra_blocks\.p([67])\.(weight|bias)",
        lambda m: f"fpn.extra.{int(m[1]) - 6}.{m[2]}",
    ),
)

_RULES: tuple[Rule, ...] = (
    *NET_RULES,
    (re.escape(_CLS) + r"conv\.(\d+\.\w+)", r"head.cls_tower.\1"),
    (re.escape(_CLS) + r"cls_logits\.(\w+)", r"head.cls_logits.\1"),
    (re.escape(_BOX) + r"conv\.(\d+\.\w+)", r"head.box_tower.\1"),
    (re.escape(_BOX) + r"bbox_reg\.(\w+)", r"head.box_ltrb.\1"),
    (re.escape(_BOX) + r"bbox_ctrness\.(\w+)", r"head.quality_logits.\1"),
)

_BACK: tuple[Rule, ...] = (
    (r"backbone\.stages\.0\.0\.(\w+)", r"backbone.body.conv1.\1"),
    (r"backbone\.stages\.0\.1\.(\w+)", r"backbone.body.bn1.\1"),
    (r"backbone\.stages\.([1-4])\.(.+)", r"backbone.body.layer\1.\2"),
    (r"fpn\.lateral\.(\d)\.(\w+)", r"backbone.fpn.inner_blocks.\1.0.\2"),
    (r"fpn\.output\.(\d)\.(\w+)", r"backbone.fpn.layer_blocks.\1.0.\2"),
    (r"fpn\.extra\.(\d)\.(\w+)", lambda m: f"backbone.fpn.extra_blocks.p{int(m[1]) + 6}.{m[2]}"),
    (r"head\.cls_tower\.(\d+\.\w+)", _CLS + r"conv.\1"),
    (r"head\.cls_logits\.(\w+)", _CLS + r"cls_logits.\1"),
    (r"head\.box_tower\.(\d+\.\w+)", _BOX + r"conv.\1"),
    (r"head\.box_ltrb\.(\w+)", _BOX + r"bbox_reg.\1"),
    (r"head\.quality_logits\.(\w+)", _BOX + r"bbox_ctrness.\1"),
)
