"""The authors' own code (github.com/tianzhi0549/FCOS): keys ``rpn.head...``.

Its models: ResNet and ResNeXt with or without deformable convolutions, MobileNetV2; VoVNet in
VoVNet-FCOS, which builds on it.

- Recipes: ``improved`` (the ``imprv`` configurations) and ``plain``. No tensor tells them apart.
  Without a word the recipe is improved, for MobileNetV2 and VoVNet plain, as all published ones.
- Input: BGR less Caffe's means, for all backbones. Nets without groups stride in the first 1x1;
  ``improved-3x3`` and ``plain-3x3`` are for those trained with ``STRIDE_IN_1X1`` False.
- Its frozen BatchNorm adds nothing to the variance, ours 1e-5; that is taken off the variances.
- Boxes are clipped to the last pixel; NMS counts pixels inclusively; those that score as the
  hundredth does stay as well. Its labels count from 1, ours from 0.
"""

from __future__ import annotations

from collections.abc import Collection

from fcos_lightning.checkpoints.translation.conventions import (
    CAFFE_INPUT,
    IMPROVED_LOSS,
    PLAIN_LOSS,
    Source,
    Translation,
    classes_of,
    split_recipe,
)
from fcos_lightning.checkpoints.translation.derive import spec_of, stride_on, without_epsilon
from fcos_lightning.checkpoints.translation.naming import (
    NOT_NEEDED,
    Rule,
    mobilenet_rules,
    renamed,
    vovnet_key,
)

NAME = "official"
RECIPES = ("improved", "plain", "improved-3x3", "plain-3x3")


def recognises(keys: Collection[str]) -> bool:
    """Tell by the keys whether a file is of this layout."""
    return "rpn.head.cls_logits.weight" in keys


def translate(source: Source, recipe: str | None) -> Translation:
    """Return a file of this layout in our terms."""
    recipe, on_3x3 = split_recipe(recipe)
    weights = renamed(source.weights, _RULES)
    spec = spec_of(weights)
    backbone = spec["backbone"]
    plain = (recipe == "plain") if recipe else backbone["name"] in ("mobilenet_v2", "vovnet")
    if on := stride_on(weights, caffe=not on_3x3):
        backbone["stride_on"] = on
    if backbone["norm"] == "frozen":
        weights = without_epsilon(weights)
    spec["head"] |= {
        "distances": "exp" if plain else "relu",
        "quality_on": "classification" if plain else "box",
    }
    return Translation(
        spec={
            **spec,
            **classes_of(spec["num_classes"], source.class_names),
            "assigner": {"center_radius": None if plain else 1.5},
            "loss": dict(PLAIN_LOSS if plain else IMPROVED_LOSS),
            "decoder": {"clip_to": "last_pixel", "keep_ties": True, "nms_sides": "inclusive"},
            "input": CAFFE_INPUT,
        },
        weights=weights,
    )


_RULES: tuple[Rule, ...] = (
    (r"backbone\.body\.stem\.conv1\.(\w+)", r"backbone.stages.0.0.\1"),
    (r"backbone\.body\.stem\.bn1\.(\w+)", r"backbone.stages.0.1.\1"),
    (r"backbone\.body\.layer([1-4])\.(\d+)\.conv2\.conv\.(\w+)", r"backbone.stages.\1.\2.conv2.\3"),
    (r"backbone\.body\.layer([1-4])\.(\d+\..+)", r"backbone.stages.\1.\2"),
    *mobilenet_rules(r"backbone\.body\."),
    (r"backbone\.body\.(st(?:em|age[2-5])\..+)", vovnet_key),
    (r"backbone\.fpn\.fpn_inner([2-4])\.(\w+)", lambda m: f"fpn.lateral.{int(m[1]) - 2}.{m[2]}"),
    (r"backbone\.fpn\.fpn_layer([2-4])\.(\w+)", lambda m: f"fpn.output.{int(m[1]) - 2}.{m[2]}"),
    (r"backbone\.fpn\.top_blocks\.p([67])\.(\w+)", lambda m: f"fpn.extra.{int(m[1]) - 6}.{m[2]}"),
    (r"rpn\.head\.cls_tower\.(\d+)\.(conv\.)?((offset\.)?\w+)", r"head.cls_tower.\1.\3"),
    (r"rpn\.head\.bbox_tower\.(\d+)\.(conv\.)?((offset\.)?\w+)", r"head.box_tower.\1.\3"),
    (r"rpn\.head\.cls_logits\.(\w+)", r"head.cls_logits.\1"),
    (r"rpn\.head\.bbox_pred\.(\w+)", r"head.box_ltrb.\1"),
    (r"rpn\.head\.centerness\.(\w+)", r"head.quality_logits.\1"),
    (r"rpn\.head\.scales\.(\d)\.scale", r"head.scales.\1"),
    (r"rpn\.anchor_generator\..*", NOT_NEEDED),
)
