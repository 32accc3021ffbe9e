"""mmdetection 2.x and 3.x: keys ``bbox_head...``, ``neck...``.

- Recipes: ``plain`` (exp, pixels, centerness on the classification tower, NMS at .5) and ``tricks``
  (``norm_on_bbox``, ``centerness_on_reg``; NMS at .6). Files of mmdetection carry their
  configuration as text, which says it. Without one, towers whose convolutions have a bias beside
  GroupNorm are of the tricks recipe, as ``conv_bias`` is among its settings.
- Backbones: ResNet and ResNeXt with or without deformable convolutions, MobileNetV2; ResNetV1d and
  HRNet by way of timm. ``caffe`` style (BGR, stride in the first 1x1) or ``pytorch`` style (RGB
  less ImageNet's means, divided by its deviations; stride in the 3x3). Again the text says it;
  without one R-50 and R-101 are caffe and all others pytorch, but that HRNet takes BGR.
  ``plain-pytorch`` and ``tricks-pytorch`` override both.
- Where its runs averaged weights, files hold both sets. The model's own names hold the set that it
  was evaluated with, which is what its code loads; ``ema_...`` holds the other.
- The score is class times centerness, its top-k goes by the class alone; boxes are clipped before
  NMS. Those left without an area are dropped, but by version 2.
- What else a text says is in ``config_texts/mmdetection.py``. A recipe is taken in its place.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from fcos_lightning.checkpoints.config_texts.mmdetection import Usual, settings_of
from fcos_lightning.checkpoints.translation.conventions import (
    CAFFE_INPUT,
    DETECTRON2_INPUT,
    Source,
    Translation,
    classes_of,
)
from fcos_lightning.checkpoints.translation.derive import spec_of, stride_on
from fcos_lightning.checkpoints.translation.naming import (
    NOT_NEEDED,
    Rule,
    mobilenet_block_key,
    mobilenet_key,
    renamed,
)
from fcos_lightning.errors import UserError

NAME = "mmdet"
RECIPES = ("plain", "tricks", "plain-pytorch", "tricks-pytorch")


def recognises(keys: Collection[str]) -> bool:
    """Tell by the keys whether a file is of this layout."""
    return bool({"bbox_head.conv_centerness.weight", "bbox_head.fcos_centerness.weight"} & {*keys})


def translate(source: Source, recipe: str | None) -> Translation:
    """Return a file of this layout in our terms."""
    other_set = {f"ema_{key.replace('.', '_')}" for key in source.weights}
    given = {key: value for key, value in source.weights.items() if key not in other_set}
    laterals = len([key for key in given if re.fullmatch(r"neck\.lat.*\.weight", key)])
    per_conv = 3 if any(".gn." in key for key in given) else 2
    deep_stem = "backbone.stem.0.weight" in given
    hrnet = "neck.reduction_conv.conv.weight" in given
    before = _HRNET if hrnet else _DEEP_STEM if deep_stem else ()
    rules = (*before, *_rules(laterals, per_conv))
    weights = renamed(given, rules)
    spec = spec_of(weights)
    backbone, head = spec["backbone"], spec["head"]
    if backbone["name"] != "mobilenet_v2" and not hrnet:
        # Its norm_eval keeps the statistics still, whatever the files count.
        backbone |= {"norm": "frozen", "frozen_stages": 2}
    biased = head["tower_bias"] and head["norm"] != "none"
    tricks = recipe.startswith("tricks") if recipe else biased
    caffe = backbone["name"] in ("resnet50", "resnet101") and not str(recipe).endswith("pytorch")
    strides = [2**level for level in spec["fpn"]["levels"]]
    usual = Usual(tricks, caffe, source.version, strides)
    settings = settings_of(source.config if recipe is None else "", usual)
    if on := stride_on(weights, settings.caffe):
        backbone["stride_on"] = on
    elif deep_stem and settings.caffe:
        raise UserError("it is a ResNetV1d in caffe style, which no backbone here is")
    usual_input = dict(DETECTRON2_INPUT if tricks else CAFFE_INPUT) if settings.caffe else None
    if hrnet:
        usual_input = DETECTRON2_INPUT | {"std": [57.375, 57.12, 58.395]}
    return Translation(
        spec={
            **spec,
            **classes_of(spec["num_classes"], source.class_names),
            "head": head | settings.head,
            "fpn": spec["fpn"] | settings.fpn,
            "assigner": settings.assigner,
            "loss": settings.loss,
            "decoder": settings.decoder,
            "input": settings.input or usual_input,
        },
        weights=weights,
        sides=settings.sides,
    )


#: Of ResNetV1d, three convolutions in place of the stem's one, and averages before shortcuts
#: (arXiv 1812.01187); timm has the same net.
_DEEP_STEM: tuple[Rule, ...] = (
    (r"backbone\.stem\.([01346])\.(\w+)", r"backbone.net.conv1.\1.\2"),
    (r"backbone\.stem\.7\.(\w+)", r"backbone.net.bn1.\1"),
    (r"backbone\.(layer[1-4]\..+)", r"backbone.net.\1"),
)


#: Of HRNet and its pyramid; timm's net has the same names.
_HRNET: tuple[Rule, ...] = (
    (r"backbone\.(.+)", r"backbone.net.\1"),
    (r"neck\.reduction_conv\.conv\.(\w+)", r"fpn.merge.\1"),
    (r"neck\.fpn_convs\.(\d)\.conv\.(\w+)", r"fpn.output.\1.\2"),
)


def _rules(laterals: int, per_conv: int) -> tuple[Rule, ...]:
    """Return the rules for a file.

    Args:
        laterals: number of the FPN's levels that come from the backbone.
        per_conv: layers that one of the towers' convolutions makes here.
    """

    def output(match: re.Match[str]) -> str:
        level = int(match[1])
        if level < laterals:
            return f"fpn.output.{level}.{match[2]}"
        return f"fpn.extra.{level - laterals}.{match[2]}"

    def mobilenet_stem(match: re.Match[str]) -> str:
        return mobilenet_key(0, f"{int(match[1] == 'bn')}.{match[2]}")

    def mobilenet_block(match: re.Match[str]) -> str | None:
        part = {"expand": 0, "depthwise": 1, "linear": 2}.get(match[3])
        if part is None:
            return None
        index = 1 + sum((1, 2, 3, 4, 3, 3, 1)[: int(match[1]) - 1]) + int(match[2])
        return mobilenet_block_key(index, part, match[4] == "bn", match[5])

    def tower(match: re.Match[str]) -> str:
        ours = "cls_tower" if match[1] == "cls" else "box_tower"
        # Each of its modules is our convolution, normalisation, if any, and ReLU.
        layer = per_conv * int(match[2]) + (0 if match[3] == "conv" else 1)
        return f"head.{ours}.{layer}.{'offset.' if match[4] else ''}{match[5]}"

    return (
        (r"backbone\.conv1\.(conv|bn)\.(\w+)", mobilenet_stem),
        (r"backbone\.layer([1-7])\.(\d)\.(\w+)_conv\.(conv|bn)\.(\w+)", mobilenet_block),
        # Of MobileNetV2's classifier.
        (r"backbone\.conv2\.(conv|bn)\.\w+", NOT_NEEDED),
        (r"backbone\.conv1\.(\w+)", r"backbone.stages.0.0.\1"),
        (r"backbone\.bn1\.(\w+)", r"backbone.stages.0.1.\1"),
        (
            r"backbone\.layer([1-4])\.(\d+)\.conv2(?:\.conv_offset|_offset)\.(\w+)",
            r"backbone.stages.\1.\2.conv2.offset.\3",
        ),
        (r"backbone\.layer([1-4])\.(.+)", r"backbone.stages.\1.\2"),
        (r"neck\.lateral_convs\.(\d)\.conv\.(\w+)", r"fpn.lateral.\1.\2"),
        (r"neck\.fpn_convs\.(\d)\.conv\.(\w+)", output),
        (r"bbox_head\.(cls|reg)_convs\.(\d+)\.(conv|gn)(\.conv_offset|_offset)?\.(\w+)", tower),
        (r"bbox_head\.(?:conv|fcos)_cls\.(\w+)", r"head.cls_logits.\1"),
        (r"bbox_head\.(?:conv|fcos)_reg\.(\w+)", r"head.box_ltrb.\1"),
        (r"bbox_head\.(?:conv|fcos)_centerness\.(\w+)", r"head.quality_logits.\1"),
        (r"bbox_head\.scales\.(\d)\.scale", r"head.scales.\1"),
        (r"data_preprocessor\.(mean|std)", NOT_NEEDED),
    )
