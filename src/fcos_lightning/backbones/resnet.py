"""Residual nets as stages: torchvision's, with the variants that published detectors use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torchvision
from torch import nn
from torchvision.models.resnet import BasicBlock

from fcos_lightning.errors import UserError
from fcos_lightning.layers.deform import DeformableConv2d
from fcos_lightning.layers.frozen import fold_frozen_resnet
from fcos_lightning.weights.files import fill_classifier

RESNETS = (
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnext101_32x8d",
    "resnext101_64x4d",
)


def resnet_stages(
    name: str,
    weights: str | None,
    norm_layer: Callable[[int], nn.Module],
    stride_on: Literal["3x3", "1x1"] = "3x3",
    deformable_stages: Sequence[int] = (),
) -> tuple[list[nn.Module], list[int], list[int]]:
    """Return the stages of a residual net with their channels and strides in pixels.

    Args:
        name: one of ``RESNETS``.
        weights: see ``build_backbone``.
        norm_layer: makes a normalisation for so many channels.
        stride_on: which convolution of a stage's first bottleneck halves the resolution: the
            ``3x3`` (torchvision), or the first ``1x1`` (arXiv 1512.03385, and with it the models
            that came from Caffe).
        deformable_stages: stages whose bottlenecks get a modulated deformable 3x3, ``k`` for C_k,
            the stage of stride ``2**k``; it starts out computing what the ordinary one does.

    Raises:
        UserError: if an option is unknown or the net has no bottlenecks to apply it to, or the
            weights do not fit.
    """
    if stride_on not in ("3x3", "1x1"):
        raise UserError(f"model.backbone.stride_on={stride_on}: give one of 3x3, 1x1")
    for stage in deformable_stages:
        if stage not in (2, 3, 4, 5):
            raise UserError(
                f"model.backbone.deformable_stages={list(deformable_stages)}: give some of "
                "2, 3, 4, 5 (k for C_k, the stage of stride 2**k)"
            )
    net = torchvision.models.get_model(name, weights=None, norm_layer=norm_layer)
    layers = [net.layer1, net.layer2, net.layer3, net.layer4]
    if isinstance(net.layer1[0], BasicBlock) and (stride_on == "1x1" or deformable_stages):
        option = "stride_on=1x1" if stride_on == "1x1" else "deformable_stages"
        raise UserError(
            f"model.backbone.{option}: the blocks of {name} are no bottlenecks, which this needs; "
            "resnet50 is the smallest that has them"
        )
    if stride_on == "1x1":
        for layer in layers[1:]:
            first = layer[0]
            first.conv1.stride, first.conv2.stride = first.conv2.stride, first.conv1.stride
    fill_classifier(net, name, weights)
    for stage in deformable_stages:
        for block in layers[stage - 2]:
            block.conv2 = DeformableConv2d.starting_as(block.conv2)
    fold_frozen_resnet(net)
    stem = nn.Sequential(net.conv1, net.bn1, net.relu, net.maxpool)
    expansion = net.layer4[-1].expansion
    return (
        [stem, *layers],
        [64, *(width * expansion for width in (64, 128, 256, 512))],
        [4, 4, 8, 16, 32],
    )
