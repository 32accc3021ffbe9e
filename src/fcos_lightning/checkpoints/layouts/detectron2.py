"""detectron2's own FCOS (modeling/meta_arch/fcos.py): keys ``head.cls_subnet``, ``head.ctrness``.

- Recipes: ``improved``: ReLU, strides, no learnable scales, centerness on the box tower, GIoU; and
  ``improved-3x3``, for nets trained with ``STRIDE_IN_1X1`` False. Without a word nets without
  groups stride in the first 1x1.
- Input: BGR less ImageNet's means; a file that carries ``pixel_mean`` and ``pixel_std`` says it
  itself.
- Its BatchNorm in towers has statistics for each level and one affine map for all, of which each
  level gets a copy here.
- Size ranges without their ends; the threshold of .2 is one on the score; boxes are clipped after
  NMS, and those left without an area dropped.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from torch import Tensor

from fcos_lightning.checkpoints.translation.conventions import (
    Source,
    Translation,
    classes_of,
    detectron2_input,
    split_recipe,
)
from fcos_lightning.checkpoints.translation.derive import spec_of, stride_on
from fcos_lightning.checkpoints.translation.naming import (
    DETECTRON2_FPN,
    DETECTRON2_RESNET,
    NOT_NEEDED,
    Rule,
    renamed,
)

NAME = "detectron2"
RECIPES = ("improved", "improved-3x3")


def recognises(keys: Collection[str]) -> bool:
    """Tell by the keys whether a file is of this layout; RetinaNet's has no ``ctrness``."""
    return "head.cls_score.weight" in keys and "head.ctrness.weight" in keys


def translate(source: Source, recipe: str | None) -> Translation:
    """Return a file of this layout in our terms."""
    _, on_3x3 = split_recipe(recipe)
    weights = _norms_of_levels(renamed(source.weights, _RULES))
    spec = spec_of(weights)
    if on := stride_on(weights, caffe=not on_3x3):
        spec["backbone"]["stride_on"] = on
    return Translation(
        spec={
            **spec,
            **classes_of(spec["num_classes"], source.class_names),
            "assigner": {"center_radius": 1.5, "range_ends": "exclusive"},
            "loss": {"box_loss": "giou", "box_epsilon": "plain", "box_weight": "none"},
            "decoder": {
                "score_threshold": 0.2,
                "threshold_on": "score",
                "clip": "after_nms",
                "drop_empty": True,
            },
            "input": detectron2_input(source),
        },
        weights=weights,
    )


def _norms_of_levels(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give the norm of each level the affine map that all of a tower's share."""
    levels = re.compile(r"(head\.\w+_tower\.\d+)\.(\d+)\.running_mean")
    found = [match.groups() for key in weights if (match := levels.fullmatch(key))]
    shared = {f"{norm}.{leaf}" for norm, _ in found for leaf in ("weight", "bias")} & {*weights}
    copies = {
        f"{norm}.{level}.{leaf}": weights[f"{norm}.{leaf}"]
        for norm, level in found
        for leaf in ("weight", "bias")
        if f"{norm}.{leaf}" in shared
    }
    return {key: value for key, value in weights.items() if key not in shared} | copies


_RULES: tuple[Rule, ...] = (
    *DETECTRON2_RESNET,
    *DETECTRON2_FPN,
    (r"head\.cls_subnet\.(\d+)\.((\d\.)?\w+)", r"head.cls_tower.\1.\2"),
    (r"head\.bbox_subnet\.(\d+)\.((\d\.)?\w+)", r"head.box_tower.\1.\2"),
    (r"head\.cls_score\.(\w+)", r"head.cls_logits.\1"),
    (r"head\.bbox_pred\.(\w+)", r"head.box_ltrb.\1"),
    (r"head\.ctrness\.(\w+)", r"head.quality_logits.\1"),
    (r"pixel_(mean|std)", NOT_NEEDED),
    (r"anchor_generator\..*", NOT_NEEDED),
)
