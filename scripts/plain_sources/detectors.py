"""Published detectors: from images to logits, distances and boxes, by each source's rules."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from plain_sources.decoding import STRIDES, decoded
from plain_sources.nets import dla34, mobilenet_v2, resnet, vovnet
from plain_sources.operations import Weights, batch_norm, conv, deformable_conv, group_norm

IMAGENET_MEAN, IMAGENET_STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
VOVNETS = {"vovnet39": (1, 1, 2, 2), "vovnet57": (1, 1, 4, 3), "vovnet99": (1, 3, 9, 3)}


@dataclass(frozen=True)
class Published:
    """A published configuration, as its source's files describe it.

    Attributes:
        source: ``official``, ``adelaidet``, ``mmdet``, ``detectron2`` or ``rosinality``.
        config: the source's name.
        net: the backbone.
        recipe: that ``load_detector`` has to be told; None where its default is right.
        improved: distances by ReLU and in strides, centerness on the box tower; else by exp, in
            pixels, on the classification tower.
        stages: with deformable convolutions, ``k`` for C_k.
        masks: whether these are modulated.
        tower_deforms: the last convolution of each tower is deformable.
        shared: whether the towers are one.
        level_norms: BatchNorm of each level in the towers, instead of GroupNorm.
        levels: number of them, from P3.
        channels: of the levels.
        counted: whether the backbone's norms have a counter of batches.
        first_ordinary: the first bottleneck of the deformable stages is an ordinary one.
        on_3x3: nets of Caffe's kind stride in the 3x3 convolutions as well.
        box_convs: convolutions of the box tower; the other has 4.
        p6_from: ``p5``, ``c5`` or ``lateral``.
        text: of the configuration that its file carries along.
    """

    source: str
    config: str
    net: str = "resnet50"
    recipe: str | None = None
    improved: bool = True
    stages: tuple[int, ...] = ()
    masks: bool = True
    tower_deforms: bool = False
    shared: bool = False
    level_norms: bool = False
    levels: int = 5
    channels: int = 256
    counted: bool = False
    first_ordinary: bool = False
    on_3x3: bool = False
    box_convs: int = 4
    p6_from: str = "p5"
    text: str = ""


@dataclass(frozen=True)
class Outputs:
    """What a detector computes.

    Attributes:
        cls: logits ``[B, 80, H, W]`` of each level.
        ltrb_px: distances ``[B, 4, H, W]`` of each level.
        quality: logits ``[B, 1, H, W]`` of each level.
        found: of each image: boxes ``[N, 4]`` in pixels, scores and 0-based labels.
    """

    cls: list[Tensor]
    ltrb_px: list[Tensor]
    quality: list[Tensor]
    found: list[tuple[Tensor, Tensor, Tensor]]


@torch.inference_mode()
def run(model: Published, weights: Weights, images: Sequence[Tensor]) -> Outputs:
    """Return what a published detector computes from RGB uint8 images ``[3, H, W]``."""
    batch = _input(model, images)
    if model.net.startswith("resne"):
        maps = resnet(
            weights,
            batch,
            model.source,
            model.net,
            model.stages,
            model.masks,
            model.counted,
            model.first_ordinary,
            model.on_3x3,
        )
    elif model.net in VOVNETS:
        maps = vovnet(weights, batch, model.source, VOVNETS[model.net], model.counted)
    elif model.net == "mobilenet_v2":
        maps = mobilenet_v2(weights, batch, model.source)
    else:
        maps = dla34(weights, batch)
    cls, ltrb_px, quality = [], [], []
    names = _head_names(model.source)
    for level, feature in enumerate(_pyramid(model, weights, maps)):
        if model.shared:
            feature = _tower(model, weights, "share", feature, level)
            cls_feature = box_feature = feature
        else:
            cls_feature = _tower(model, weights, "cls", feature, level)
            box_feature = _tower(model, weights, "box", feature, level)
        cls.append(conv(weights, names["cls"], cls_feature, 80))
        quality_feature = box_feature if model.improved else cls_feature
        quality.append(conv(weights, names["quality"], quality_feature, 1))
        ltrb = conv(weights, names["box"], box_feature, 4)
        if model.source != "detectron2":
            shape = () if model.source == "mmdet" else (1,)
            ltrb = ltrb * weights(f"{names['scale']}.{level}.scale", *shape)
        ltrb_px.append(ltrb.relu() * STRIDES[level] if model.improved else ltrb.exp())
    found = [
        decoded(
            model,
            [(c[i], b[i], q[i]) for c, b, q in zip(cls, ltrb_px, quality, strict=True)],
            tuple(image.shape[-2:]),
        )
        for i, image in enumerate(images)
    ]
    return Outputs(cls, ltrb_px, quality, found)


def _input(model: Published, images: Sequence[Tensor]) -> Tensor:
    """Normalise each image and pad with zeros to a common multiple of 32."""
    caffe = (102.9801, 115.9465, 122.7717)
    mean, std, to_bgr, more = IMAGENET_MEAN[::-1], (1.0, 1.0, 1.0), True, 0
    if model.source == "official":
        mean = caffe
    elif model.source == "mmdet" and model.net in ("resnet50", "resnet101"):
        mean = mean if model.improved else caffe
    elif model.source == "mmdet":
        mean, std, to_bgr = IMAGENET_MEAN, IMAGENET_STD, False
    elif model.source == "adelaidet" and model.net == "resnext101_32x8d":
        std = IMAGENET_STD[::-1]
    elif model.source == "rosinality":
        mean = tuple(255 * value for value in (0.40789654, 0.44719302, 0.47026115))
        std = tuple(255 * value for value in (0.28863828, 0.27408164, 0.27809835))
        to_bgr, more = False, 1
    height, width = (
        math.ceil((max(image.shape[side] for image in images) + more) / 32) * 32 for side in (1, 2)
    )
    batch = torch.zeros(len(images), 3, height, width)
    for row, image in zip(batch, images, strict=True):
        pixels = image[[2, 1, 0]] if to_bgr else image
        normal = (pixels - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
        row[:, : image.shape[1], : image.shape[2]] = normal
    return batch


def _pyramid(model: Published, weights: Weights, maps: list[Tensor]) -> list[Tensor]:
    """Return P3 and on: laterals, the coarser one added to each, and two strided convolutions."""
    laterals = []
    for index, feature in enumerate(maps):
        key = {
            "official": f"backbone.fpn.fpn_inner{index + 2}",
            "mmdet": f"neck.lateral_convs.{index}.conv",
            "rosinality": f"fpn.inner_convs.{index + 2}",
        }.get(model.source, f"backbone.fpn_lateral{index + 3}")
        laterals.append(conv(weights, key, feature, model.channels, 1))
    for index in (1, 0):
        coarser = laterals[index + 1].repeat_interleave(2, 2).repeat_interleave(2, 3)
        laterals[index] = laterals[index] + coarser
    levels = []
    for index, lateral in enumerate(laterals):
        key = {
            "official": f"backbone.fpn.fpn_layer{index + 2}",
            "mmdet": f"neck.fpn_convs.{index}.conv",
            "rosinality": f"fpn.out_convs.{index + 2}",
        }.get(model.source, f"backbone.fpn_output{index + 3}")
        levels.append(conv(weights, key, lateral, model.channels))
    for index in range(model.levels - 3):
        key = {
            "official": f"backbone.fpn.top_blocks.p{index + 6}",
            "mmdet": f"neck.fpn_convs.{index + 3}.conv",
            "rosinality": f"fpn.top_blocks.p{index + 6}",
        }.get(model.source, f"backbone.top_block.p{index + 6}")
        last = {"p5": levels[2], "c5": maps[-1], "lateral": laterals[-1]}[model.p6_from]
        last = levels[-1].relu() if index else last
        levels.append(conv(weights, key, last, model.channels, stride=2))
    return levels


def _head_names(source: str) -> dict[str, str]:
    return {
        "official": {
            "cls": "rpn.head.cls_logits",
            "box": "rpn.head.bbox_pred",
            "quality": "rpn.head.centerness",
            "scale": "rpn.head.scales",
            "tower": "rpn.head.{}_tower",
        },
        "adelaidet": {
            "cls": "proposal_generator.fcos_head.cls_logits",
            "box": "proposal_generator.fcos_head.bbox_pred",
            "quality": "proposal_generator.fcos_head.ctrness",
            "scale": "proposal_generator.fcos_head.scales",
            "tower": "proposal_generator.fcos_head.{}_tower",
        },
        "mmdet": {
            "cls": "bbox_head.conv_cls",
            "box": "bbox_head.conv_reg",
            "quality": "bbox_head.conv_centerness",
            "scale": "bbox_head.scales",
            "tower": "bbox_head.{}_convs",
        },
        "detectron2": {
            "cls": "head.cls_score",
            "box": "head.bbox_pred",
            "quality": "head.ctrness",
            "tower": "head.{}_subnet",
        },
        "rosinality": {
            "cls": "head.cls_pred",
            "box": "head.bbox_pred",
            "quality": "head.center_pred",
            "scale": "head.scales",
            "tower": "head.{}_tower",
        },
    }[source]


def _tower(model: Published, weights: Weights, name: str, x: Tensor, level: int) -> Tensor:
    if name == "box":
        name = "reg" if model.source == "mmdet" else "bbox"
    tower = _head_names(model.source)["tower"].format(name)
    # Only rosinality and mmdetection's plain recipe leave out the biases.
    bias = model.source not in ("mmdet", "rosinality") or model.improved
    for index in range(4 if name in ("cls", "share") else model.box_convs):
        key, norm = f"{tower}.{3 * index}", f"{tower}.{3 * index + 1}"
        if model.source == "mmdet":
            key, norm = f"{tower}.{index}.conv", f"{tower}.{index}.gn"
        if model.tower_deforms and index == 3:
            inner, offset = (
                (key, f"{key}.conv_offset")
                if model.source == "mmdet"
                else (f"{key}.conv", f"{key}.offset")
            )
            x = deformable_conv(weights, inner, offset, x, model.channels, bias=bias)
        else:
            x = conv(weights, key, x, model.channels, bias=bias)
        if model.level_norms and model.source == "detectron2":
            # One affine map for all levels.
            x = batch_norm(weights, f"{norm}.{level}", x, affine=norm)
        elif model.level_norms:
            x = batch_norm(weights, f"{norm}.{level}", x)
        else:
            x = group_norm(weights, norm, x)
        x = x.relu()
    return x
