"""Published detectors: from images to logits, distances and boxes, by each source's rules."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.ops import nms

from plain_sources.nets import dla34, mobilenet_v2, resnet, vovnet
from plain_sources.operations import Weights, batch_norm, conv, deformable_conv, group_norm

IMAGENET_MEAN, IMAGENET_STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
STRIDES = (8, 16, 32, 64, 128)
VOVNETS = {"vovnet39": (1, 1, 2, 2), "vovnet57": (1, 1, 4, 3), "vovnet99": (1, 3, 9, 3)}


@dataclass(frozen=True)
class Published:
    """A published configuration, as its source's files describe it.

    Attributes:
        source: ``official``, ``adelaidet``, ``mmdet`` or ``detectron2``.
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
        masks = model.masks
        maps = resnet(weights, batch, model.source, model.net, model.stages, masks, model.counted)
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
        _decoded(
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
    mean, std, to_bgr = IMAGENET_MEAN[::-1], (1.0, 1.0, 1.0), True
    if model.source == "official":
        mean = caffe
    elif model.source == "mmdet" and model.net in ("resnet50", "resnet101"):
        mean = mean if model.improved else caffe
    elif model.source == "mmdet":
        mean, std, to_bgr = IMAGENET_MEAN, IMAGENET_STD, False
    elif model.source == "adelaidet" and model.net == "resnext101_32x8d":
        std = IMAGENET_STD[::-1]
    height, width = (
        math.ceil(max(image.shape[side] for image in images) / 32) * 32 for side in (1, 2)
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
        }.get(model.source, f"backbone.fpn_output{index + 3}")
        levels.append(conv(weights, key, lateral, model.channels))
    for index in range(model.levels - 3):
        key = {
            "official": f"backbone.fpn.top_blocks.p{index + 6}",
            "mmdet": f"neck.fpn_convs.{index + 3}.conv",
        }.get(model.source, f"backbone.top_block.p{index + 6}")
        last = levels[-1].relu() if index else levels[-1]
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
    }[source]


def _tower(model: Published, weights: Weights, name: str, x: Tensor, level: int) -> Tensor:
    if name == "box":
        name = "reg" if model.source == "mmdet" else "bbox"
    tower = _head_names(model.source)["tower"].format(name)
    # Only mmdetection's plain recipe leaves out the biases.
    bias = model.source != "mmdet" or model.improved
    for index in range(4):
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
        if model.level_norms:
            x = batch_norm(weights, f"{norm}.{level}", x)
        else:
            x = group_norm(weights, norm, x)
        x = x.relu()
    return x


def _decoded(
    model: Published, levels: list[tuple[Tensor, Tensor, Tensor]], size: tuple[int, int]
) -> tuple[Tensor, Tensor, Tensor]:
    """Return boxes, scores and labels of one image."""
    all_boxes, all_scores, all_labels = [], [], []
    for stride, (cls, ltrb, quality) in zip(STRIDES, levels, strict=False):
        probability = cls.sigmoid()
        score = probability * quality.sigmoid()
        score = score if model.source == "mmdet" else score.sqrt()
        passed = score > 0.2 if model.source == "detectron2" else probability > 0.05
        label, row, column = passed.nonzero(as_tuple=True)
        ranking = (probability if model.source == "mmdet" else score)[passed]
        best = ranking.argsort(descending=True)[:1000]
        label, row, column = label[best], row[best], column[best]
        x, y = column * stride + stride // 2, row * stride + stride // 2
        left, top, right, bottom = ltrb[:, row, column]
        all_boxes.append(torch.stack([x - left, y - top, x + right, y + bottom], dim=1))
        all_scores.append(score[label, row, column])
        all_labels.append(label)
    boxes, scores, labels = torch.cat(all_boxes), torch.cat(all_scores), torch.cat(all_labels)
    if model.source in ("official", "mmdet"):
        boxes, kept = _clipped(model, boxes, size)
        boxes, scores, labels = boxes[kept], scores[kept], labels[kept]
    overlap = 0.5 if model.source == "mmdet" and not model.improved else 0.6
    left_over = []
    for label in labels.unique():
        of_class = (labels == label).nonzero().flatten()
        counted = boxes[of_class]
        if model.source == "official":  # counts the pixels on both ends
            counted = torch.cat([counted[:, :2], counted[:, 2:] + 1], dim=1)
        left_over.append(of_class[nms(counted, scores[of_class], overlap)])
    rows = torch.cat(left_over)
    rows = rows[scores[rows].argsort(descending=True)]
    if len(rows) > 100 and model.source in ("official", "adelaidet"):
        # Their k-th value is a threshold, so what scores alike stays.
        rows = rows[scores[rows] >= scores[rows[99]]]
    else:
        rows = rows[:100]
    boxes, scores, labels = boxes[rows], scores[rows], labels[rows]
    if model.source == "detectron2":
        boxes, kept = _clipped(model, boxes, size)
        boxes, scores, labels = boxes[kept], scores[kept], labels[kept]
    return boxes, scores, labels


def _clipped(model: Published, boxes: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return boxes within the image, and which of them are to be kept."""
    beyond = 1 if model.source == "official" else 0
    height, width = size[0] - beyond, size[1] - beyond
    x, y = boxes[:, 0::2].clamp(0, width), boxes[:, 1::2].clamp(0, height)
    boxes = torch.stack([x[:, 0], y[:, 0], x[:, 1], y[:, 1]], dim=1)
    has_area = (boxes[:, 2:] > boxes[:, :2]).all(1)
    return boxes, torch.ones_like(has_area) if model.source == "official" else has_area
