"""AdelaiDet (github.com/aim-uofa/AdelaiDet): keys ``proposal_generator.fcos_head...``.

Its models: ResNet, ResNeXt, DLA-34, VoVNet and MobileNetV2; real-time models with three levels,
shared towers and a BatchNorm for each level.

- Recipes: ``centerness`` and ``iou`` (``BOX_QUALITY``); they differ in the loss alone, so without a
  word it is centerness. Distances are ReLU and in strides.
- Input: BGR less ImageNet's means; ResNeXt-101-32x8d divided by ImageNet's deviations as well. A
  file that carries ``pixel_mean`` and ``pixel_std`` says it itself. Nets without groups stride in
  the first 1x1; recipes that end in ``-3x3`` are for those trained with ``STRIDE_IN_1X1`` False.
- Boxes are not clipped to the image: there this is up to the code around the detector. Ask for it
  by ``decoder={"clip": "after_nms", "drop_empty": True}``, which is what that code does. Those that
  score as the hundredth does stay as well.
- With three levels it is a real-time model, evaluated at 512 and at most 736 pixels.
"""

from __future__ import annotations

from collections.abc import Collection

from fcos_lightning.checkpoints.translation.conventions import (
    IMPROVED_LOSS,
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
    mobilenet_rules,
    renamed,
    vovnet_key,
)

NAME = "adelaidet"
RECIPES = ("centerness", "iou", "centerness-3x3", "iou-3x3")

_HEAD = r"proposal_generator\.fcos_head\."


def recognises(keys: Collection[str]) -> bool:
    """Tell by the keys whether a file is of this layout."""
    return "proposal_generator.fcos_head.cls_logits.weight" in keys


def translate(source: Source, recipe: str | None) -> Translation:
    """Return a file of this layout in our terms."""
    recipe, on_3x3 = split_recipe(recipe)
    weights = renamed(source.weights, _RULES)
    spec = spec_of(weights)
    if on := stride_on(weights, caffe=not on_3x3):
        spec["backbone"]["stride_on"] = on
    std = [57.375, 57.12, 58.395] if spec["backbone"]["name"] == "resnext101_32x8d" else None
    quality = "iou" if recipe == "iou" else "centerness"
    return Translation(
        spec={
            **spec,
            **classes_of(spec["num_classes"], source.class_names),
            "assigner": {"center_radius": 1.5},
            "loss": {**IMPROVED_LOSS, "quality": quality},
            "decoder": {"clip": "never", "keep_ties": True},
            "input": detectron2_input(source, std),
        },
        weights=weights,
        sides=(512, 736) if len(spec["fpn"]["levels"]) == 3 else (800, 1333),
    )


_RULES: tuple[Rule, ...] = (
    *DETECTRON2_RESNET,
    *DETECTRON2_FPN,
    *mobilenet_rules(r"backbone\.bottom_up\."),
    (r"backbone\.bottom_up\.(st(?:em|age[2-5])\..+)", vovnet_key),
    # Its trees within trees have a projection whose output nothing uses; timm's have none.
    (r"backbone\.bottom_up\.level[34]\.project\..+", NOT_NEEDED),
    (r"backbone\.bottom_up\.((base_layer|level\d)\..+)", r"backbone.net.\1"),
    (_HEAD + r"cls_tower\.(\d+)\.(conv\.)?((offset\.|\d\.)?\w+)", r"head.cls_tower.\1.\3"),
    (_HEAD + r"bbox_tower\.(\d+)\.(conv\.)?((offset\.|\d\.)?\w+)", r"head.box_tower.\1.\3"),
    (_HEAD + r"share_tower\.(\d+)\.((\d\.)?\w+)", r"head.shared_tower.\1.\2"),
    (_HEAD + r"cls_logits\.(\w+)", r"head.cls_logits.\1"),
    (_HEAD + r"bbox_pred\.(\w+)", r"head.box_ltrb.\1"),
    (_HEAD + r"ctrness\.(\w+)", r"head.quality_logits.\1"),
    (_HEAD + r"scales\.(\d)\.scale", r"head.scales.\1"),
    (r"pixel_(mean|std)", NOT_NEEDED),
    (r"proposal_generator\.(fcos_outputs\.)?moving_num_fg", NOT_NEEDED),
)
