"""mmdetection 2.x and 3.x: keys ``bbox_head...``, ``neck...``.

- Recipes: ``plain`` (exp, pixels, centerness on the classification tower, NMS at .5) and ``tricks``
  (``norm_on_bbox``, ``centerness_on_reg``; NMS at .6). Files of mmdetection carry their
  configuration as text, which says it. Without one, towers whose convolutions have a bias beside
  GroupNorm are of the tricks recipe, as ``conv_bias`` is among its settings.
- Backbones: ``caffe`` style (BGR, stride in the first 1x1) or ``pytorch`` style (RGB less
  ImageNet's means, divided by its deviations; stride in the 3x3). Again the text says it; without
  one R-50 and R-101 are caffe and all others pytorch. ``plain-pytorch`` and ``tricks-pytorch``
  override both.
- Where its runs averaged weights, files hold both sets. The model's own names hold the set that it
  was evaluated with, which is what its code loads; ``ema_...`` holds the other.
- The score is class times centerness, its top-k goes by the class alone; boxes are clipped before
  NMS, and those left without an area dropped.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from fcos_lightning.checkpoints.conventions import (
    CAFFE_INPUT,
    DETECTRON2_INPUT,
    Source,
    Translation,
    classes_of,
)
from fcos_lightning.checkpoints.derive import spec_of, stride_on
from fcos_lightning.checkpoints.naming import (
    NOT_NEEDED,
    Rule,
    mobilenet_block_key,
    mobilenet_key,
    renamed,
)

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
    weights = renamed(given, _rules(laterals, per_conv))
    spec = spec_of(weights)
    backbone, head = spec["backbone"], spec["head"]
    if backbone["name"] != "mobilenet_v2":
        # Its norm_eval keeps the statistics still, whatever the files count.
        backbone |= {"norm": "frozen", "frozen_stages": 2}
    text = source.config if recipe is None else ""
    biased = head["tower_bias"] and head["norm"] != "none"
    tricks = recipe.startswith("tricks") if recipe else biased
    in_strides = _said(text, "norm_on_bbox", tricks)
    on_box = _said(text, "centerness_on_reg", tricks)
    caffe = backbone["name"] in ("resnet50", "resnet101")
    if recipe is not None and recipe.endswith("pytorch"):
        caffe = False
    elif style := re.search(r"style\s*=\s*'(caffe|pytorch)'", text):
        caffe = style[1] == "caffe"
    if on := stride_on(weights, caffe):
        backbone["stride_on"] = on
    head |= {
        "distances": "relu" if in_strides else "exp",
        "quality_on": "box" if on_box else "classification",
    }
    overlap = re.search(r"nms\s*=\s*dict\([^)]{0,500}?iou_(?:threshold|thr)\s*=\s*([\d.]+)", text)
    radius = 1.5 if _said(text, "center_sampling", tricks) else None
    return Translation(
        spec={
            **spec,
            **classes_of(spec["num_classes"], source.class_names),
            "assigner": {"center_radius": radius},
            "loss": {
                "box_loss": "giou" if "GIoULoss" in text or (tricks and not text) else "iou",
                "box_epsilon": "plain",
                "box_units": "strides" if in_strides else "pixels",
            },
            "decoder": {
                "score": "product",
                "rank_by": "class",
                "nms_iou": float(overlap[1]) if overlap else (0.6 if tricks else 0.5),
                "drop_empty": True,
            },
            "input": _input(text, caffe, tricks),
        },
        weights=weights,
    )


def _said(text: str, option: str, default: bool) -> bool:
    """What a configuration's text says about an option; not a word means mmdetection's False."""
    if not text:
        return default
    found = re.findall(rf"\b{option}\s*=\s*(True|False)", text)
    return bool(found) and found[-1] == "True"


def _input(text: str, caffe: bool, tricks: bool) -> dict[str, Any] | None:
    numbers = r"\s*=\s*\[([^\]]{1,500})\]"
    mean, std = (re.search(rf"\b{key}{numbers}", text) for key in ("mean", "std"))
    to_rgb = re.search(r"\b(?:bgr_to_rgb|to_rgb)\s*=\s*(True|False)", text)
    if mean and std and to_rgb:
        return {
            "mean": [float(number) for number in mean[1].split(",") if number.strip()],
            "std": [float(number) for number in std[1].split(",") if number.strip()],
            "channel_order": "rgb" if to_rgb[1] == "True" else "bgr",
        }
    if not caffe:
        return None
    return dict(DETECTRON2_INPUT if tricks else CAFFE_INPUT)


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
