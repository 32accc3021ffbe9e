"""The authors' own code (github.com/tianzhi0549/FCOS): keys ``rpn.head...``.

Its models: ResNet and ResNeXt with or without deformable convolutions, MobileNetV2.

- Recipes: ``improved`` (the ``imprv`` configurations) and ``plain``. No tensor tells them apart.
  Without a word the recipe is improved, for MobileNetV2 plain, which all published ones are.
- Input: BGR less Caffe's means, for all backbones. Nets without groups stride in the first 1x1.
- Its frozen BatchNorm adds nothing to the variance, ours 1e-5; that is taken off the variances.
- Boxes are clipped to the last pixel. Its labels count from 1, ours from 0.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from fcos_lightning.checkpoints.conventions import (
    CAFFE_INPUT,
    IMPROVED_LOSS,
    PLAIN_LOSS,
    Source,
    Translation,
    classes_of,
)
from fcos_lightning.checkpoints.derive import spec_of, stride_on
from fcos_lightning.checkpoints.naming import NOT_NEEDED, Rule, mobilenet_key, renamed

NAME = "official"
RECIPES = ("improved", "plain")

#: What torchvision's frozen BatchNorm adds to the variance.
_EPSILON = 1e-5


def recognises(keys: Collection[str]) -> bool:
    """Tell by the keys whether a file is of this layout."""
    return "rpn.head.cls_logits.weight" in keys


def translate(source: Source, recipe: str | None) -> Translation:
    """Return a file of this layout in our terms."""
    weights = renamed(source.weights, _RULES)
    spec = spec_of(weights)
    backbone = spec["backbone"]
    plain = (recipe or ("plain" if backbone["name"] == "mobilenet_v2" else "improved")) == "plain"
    if on := stride_on(weights, caffe=True):
        backbone["stride_on"] = on
    if backbone["norm"] == "frozen":
        for key in weights:
            if key.startswith("backbone.") and key.endswith("running_var"):
                weights[key] = weights[key] - _EPSILON
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
            "decoder": {"clip_to": "last_pixel"},
            "input": CAFFE_INPUT,
        },
        weights=weights,
    )


def _mobilenet(match: re.Match[str]) -> str:
    """Its blocks are one row of layers; torchvision groups a convolution with what follows it."""
    index, layer, leaf = int(match[1]), int(match[2]), match[3]
    # Without a first expansion (t = 1) a block is shorter by one convolution, norm and ReLU.
    groups = ((0, "0.0"), (1, "0.1"), (3, "1"), (4, "2"))
    if index > 1:
        groups = ((0, "0.0"), (1, "0.1"), (3, "1.0"), (4, "1.1"), (6, "2"), (7, "3"))  # type: ignore[assignment]
    inner = dict(groups).get(layer, f"unknown.{layer}")
    return mobilenet_key(index, f"conv.{inner}.{leaf}")


_RULES: tuple[Rule, ...] = (
    (r"backbone\.body\.stem\.conv1\.(\w+)", r"backbone.stages.0.0.\1"),
    (r"backbone\.body\.stem\.bn1\.(\w+)", r"backbone.stages.0.1.\1"),
    (r"backbone\.body\.layer([1-4])\.(\d+)\.conv2\.conv\.(\w+)", r"backbone.stages.\1.\2.conv2.\3"),
    (r"backbone\.body\.layer([1-4])\.(\d+\..+)", r"backbone.stages.\1.\2"),
    (r"backbone\.body\.features\.0\.([01]\.\w+)", lambda m: mobilenet_key(0, m[1])),
    (r"backbone\.body\.features\.(\d|1[0-7])\.conv\.(\d)\.(\w+)", _mobilenet),
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
