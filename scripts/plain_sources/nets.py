"""Backbones of published detectors, under the keys of their sources."""

from __future__ import annotations

import re

import torch
import torch.nn.functional as F
from torch import Tensor

from plain_sources.operations import Weights, batch_norm, conv, deformable_conv


def resnet(
    weights: Weights,
    image: Tensor,
    source: str,
    name: str,
    stages: tuple[int, ...],
    masks: bool,
    counted: bool,
    first_ordinary: bool = False,
    on_3x3: bool = False,
) -> list[Tensor]:
    """Return C3, C4, C5 of a bottleneck ResNet or ResNeXt.

    Args:
        weights: of the detector.
        image: normalised, ``[B, 3, H, W]``.
        source: whose keys and strides.
        name: as ``resnet50`` or ``resnext101_32x8d``; ``resnet50d`` is ResNetV1d (1812.01187).
        stages: with deformable convolutions, ``k`` for C_k.
        masks: whether these are modulated.
        counted: whether norms have a counter of batches.
        first_ordinary: the first bottleneck of those stages has none.
        on_3x3: strides of nets without groups as well.
    """
    found = re.fullmatch(r"resnet(\d+)d?|resnext(\d+)_(\d+)x(\d+)d", name)
    assert found is not None
    depth, groups, width = int(found[1] or found[2]), int(found[3] or 1), int(found[4] or 64)
    # Only nets that came from MSRA's Caffe stride in the first 1x1.
    deep = name == "resnet50d"
    first_strides = groups == 1 and not on_3x3 and not deep
    epsilon = 0.0 if source == "official" else 1e-5

    def layer(
        key: str, norm: str, x: Tensor, channels: int, side: int = 1, stride: int = 1, g: int = 1
    ) -> Tensor:
        x = conv(weights, key, x, channels, side, stride, g, bias=False)
        return batch_norm(weights, norm, x, epsilon, counted)

    if source == "official":
        stem, stem_norm = "backbone.body.stem.conv1", "backbone.body.stem.bn1"
    elif source == "mmdet":
        stem, stem_norm = "backbone.conv1", "backbone.bn1"
    else:
        stem, stem_norm = "backbone.bottom_up.stem.conv1", "backbone.bottom_up.stem.conv1.norm"
    x = image
    if deep:
        for place, channels in ((0, 32), (3, 32), (6, 64)):
            key, norm = f"backbone.stem.{place}", f"backbone.stem.{place + 1}"
            x = layer(key, norm, x, channels, 3, 1 if place else 2).relu()
    else:
        x = layer(stem, stem_norm, x, 64, 7, 2).relu()
    x = F.max_pool2d(x, 3, 2, 1)
    maps = []
    for stage, blocks in enumerate({50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}[depth]):
        inner, outer = groups * width * 2**stage, 256 * 2**stage
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            in_first, in_second = (stride, 1) if first_strides else (1, stride)
            if source in ("official", "mmdet"):
                body = "backbone.body" if source == "official" else "backbone"
                at = f"{body}.layer{stage + 1}.{block}"
                norms = [f"{at}.bn{n}" for n in (1, 2, 3)]
                shortcut, shortcut_norm = f"{at}.downsample.0", f"{at}.downsample.1"
            else:
                at = f"backbone.bottom_up.res{stage + 2}.{block}"
                norms = [f"{at}.conv{n}.norm" for n in (1, 2, 3)]
                shortcut, shortcut_norm = f"{at}.shortcut", f"{at}.shortcut.norm"
            y = layer(f"{at}.conv1", norms[0], x, inner, 1, in_first).relu()
            ordinary = first_ordinary and not block and stage + 2 == min(stages)
            if stage + 2 in stages and not ordinary:
                key, offset = {
                    "official": (f"{at}.conv2.conv", f"{at}.conv2.offset"),
                    "mmdet": (f"{at}.conv2", f"{at}.conv2.conv_offset"),
                }.get(source, (f"{at}.conv2", f"{at}.conv2_offset"))
                y = deformable_conv(
                    weights, key, offset, y, inner, in_second, groups, bias=False, modulated=masks
                )
                y = batch_norm(weights, norms[1], y, epsilon, counted).relu()
            else:
                y = layer(f"{at}.conv2", norms[1], y, inner, 3, in_second, groups).relu()
            y = layer(f"{at}.conv3", norms[2], y, outer)
            if deep and not block:
                # It averages, where others skip.
                x = F.avg_pool2d(x, stride, ceil_mode=True, count_include_pad=False)
                shortcut, shortcut_norm, stride = f"{at}.downsample.1", f"{at}.downsample.2", 1
            x = (y + (x if block else layer(shortcut, shortcut_norm, x, outer, 1, stride))).relu()
        maps.append(x)
    return maps[1:]


def mobilenet_v2(weights: Weights, image: Tensor, source: str) -> list[Tensor]:
    """Return C3, C4, C5 of MobileNetV2 (arXiv 1801.04381, table 2)."""
    at = {"official": "backbone.body", "adelaidet": "backbone.bottom_up", "mmdet": "backbone"}[
        source
    ]

    def layer(
        key: tuple[str, str], x: Tensor, channels: int, side: int, stride: int = 1, groups: int = 1
    ) -> Tensor:
        x = conv(weights, key[0], x, channels, side, stride, groups, bias=False)
        return batch_norm(weights, key[1], x)

    def keys(stage: int, block: int, index: int, part: int, expands: bool) -> tuple[str, str]:
        if source == "mmdet":
            name = ("expand_conv", "depthwise_conv", "linear_conv")[part]
            key = f"{at}.layer{stage + 1}.{block}.{name}"
            return f"{key}.conv", f"{key}.bn"
        # Convolution, norm, ReLU6 in a row.
        first = 3 * (part - (not expands))
        return f"{at}.features.{index}.conv.{first}", f"{at}.features.{index}.conv.{first + 1}"

    stem = (f"{at}.features.0.0", f"{at}.features.0.1")
    stem = (f"{at}.conv1.conv", f"{at}.conv1.bn") if source == "mmdet" else stem
    x = F.relu6(layer(stem, image, 32, 3, 2))
    table = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1))
    maps, index = [], 0
    for stage, (factor, channels, blocks, stride) in enumerate(
        (*table, (6, 160, 3, 2), (6, 320, 1, 1))
    ):
        for block in range(blocks):
            index += 1
            y, inner = x, factor * x.shape[1]
            if factor > 1:
                y = F.relu6(layer(keys(stage, block, index, 0, True), y, inner, 1))
            step = 1 if block else stride
            y = F.relu6(layer(keys(stage, block, index, 1, factor > 1), y, inner, 3, step, inner))
            y = layer(keys(stage, block, index, 2, factor > 1), y, channels, 1)
            x = x + y if block else y
        maps.append(x)
    if source == "mmdet":  # what only a classifier would need comes along
        layer((f"{at}.conv2.conv", f"{at}.conv2.bn"), x, 1280, 1)
    return [maps[2], maps[4], maps[6]]


def dla34(weights: Weights, image: Tensor) -> list[Tensor]:
    """Return C3, C4, C5 of DLA-34 (arXiv 1707.06484) under AdelaiDet's keys."""
    at = "backbone.bottom_up"

    def layer(key: str, norm: str, x: Tensor, channels: int, side: int, stride: int = 1) -> Tensor:
        return batch_norm(weights, norm, conv(weights, key, x, channels, side, stride, 1, False))

    def block(key: str, x: Tensor, channels: int, stride: int, residual: Tensor) -> Tensor:
        y = layer(f"{key}.conv1", f"{key}.bn1", x, channels, 3, stride).relu()
        return (layer(f"{key}.conv2", f"{key}.bn2", y, channels, 3) + residual).relu()

    def tree(
        key: str, levels: int, x: Tensor, channels: int, stride: int, kept: list[Tensor]
    ) -> Tensor:
        bottom = F.max_pool2d(x, stride) if stride > 1 else x
        residual = bottom
        if x.shape[1] != channels:
            project = f"{key}.project"
            residual = layer(f"{project}.0", f"{project}.1", bottom, channels, 1)
        # Whole stages after the first keep their input for the root.
        kept = [*kept, bottom] if key[-1] in "345" else kept
        if levels == 2:
            first = tree(f"{key}.tree1", 1, x, channels, stride, [])
            return tree(f"{key}.tree2", 1, first, channels, 1, [*kept, first])
        first = block(f"{key}.tree1", x, channels, stride, residual)
        second = block(f"{key}.tree2", first, channels, 1, first)
        together = torch.cat([second, first, *kept], dim=1)
        return layer(f"{key}.root.conv", f"{key}.root.bn", together, channels, 1).relu()

    x = layer(f"{at}.base_layer.0", f"{at}.base_layer.1", image, 16, 7).relu()
    x = layer(f"{at}.level0.0", f"{at}.level0.1", x, 16, 3).relu()
    x = layer(f"{at}.level1.0", f"{at}.level1.1", x, 32, 3, 2).relu()
    maps = []
    for level, (levels, channels) in enumerate(((1, 64), (2, 128), (2, 256), (1, 512)), 2):
        x = tree(f"{at}.level{level}", levels, x, channels, 2, [])
        maps.append(x)
    return maps[1:]


def vovnet(
    weights: Weights, image: Tensor, source: str, blocks: tuple[int, ...], counted: bool
) -> list[Tensor]:
    """Return C3, C4, C5 of VoVNet (arXiv 1904.09730) or, in AdelaiDet, VoVNetV2 (1911.06667).

    Args:
        weights: of the detector.
        image: normalised, ``[B, 3, H, W]``.
        source: whose keys; ``official`` is VoVNet-FCOS, which builds on it. Of V1: all but
            AdelaiDet.
        blocks: of each stage.
        counted: whether norms have a counter of batches.
    """
    at = {"official": "backbone.body", "rosinality": "backbone"}.get(source, "backbone.bottom_up")

    def layer(key: str, x: Tensor, channels: int, side: int = 3, stride: int = 1) -> Tensor:
        x = conv(weights, f"{key}/conv", x, channels, side, stride, bias=False)
        epsilon = 0.0 if source == "official" else 1e-5
        return batch_norm(weights, f"{key}/norm", x, epsilon, counted).relu()

    x = layer(f"{at}.stem.stem_1", image, 64, stride=2)
    x = layer(f"{at}.stem.stem_2", x, 64)
    x = layer(f"{at}.stem.stem_3", x, 128, stride=2)
    maps = []
    for stage, count in enumerate(blocks, 2):
        width, channels = 64 + 32 * stage, 256 * (stage - 1)
        if stage > 2:
            x = F.max_pool2d(x, 3, 2, ceil_mode=True)
        for block in range(1, count + 1):
            name = f"OSA{stage}_{block}"
            seen = [x]
            for index in range(5):
                key = f"{at}.stage{stage}.{name}.layers.{index}.{name}_{index}"
                seen.append(layer(key, seen[-1], width))
            key = f"{at}.stage{stage}.{name}.concat.{name}_concat"
            y = layer(key, torch.cat(seen, dim=1), channels, 1)
            if source == "adelaidet":
                means = y.mean((2, 3), keepdim=True)
                gate = conv(weights, f"{at}.stage{stage}.{name}.ese.fc", means, channels, 1)
                y = y * (F.relu6(gate + 3) / 6)
            x = y + x if block > 1 else y
        maps.append(x)
    return maps[1:]
