"""Residual nets as stages: torchvision's, with the variants that published detectors use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torchvision
from torch import nn
from torchvision.models.resnet import BasicBlock

from fcos_lightning.detector.weights import fill_classifier
from fcos_lightning.errors import UserError

RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")


def resnet_stages(
    name: str,
    weights: str | None,
    norm_layer: Callable[[int], nn.Module],
    stride_on: Literal["3x3", "1x1"] = "3x3",
) -> tuple[list[nn.Module], list[int], list[int]]:
    """Return the stages of a residual net with their channels and strides in pixels.

    Args:
        name: one of ``RESNETS``.
        weights: see ``build_backbone``.
        norm_layer: makes a normalisation for so many channels.
        stride_on: which convolution of a stage's first bottleneck halves the resolution: the
            ``3x3`` (torchvision), or the first ``1x1`` (arXiv 1512.03385, and with it the models
            that came from Caffe).

    Raises:
        UserError: if ``stride_on`` is unknown or the net has no bottlenecks to apply it to, or the
            weights do not fit.
    """
    if stride_on not in ("3x3", "1x1"):
        raise UserError(f"model.backbone.stride_on={stride_on}: give one of 3x3, 1x1")
    net = torchvision.models.get_model(name, weights=None, norm_layer=norm_layer)
    if stride_on == "1x1":
        if isinstance(net.layer1[0], BasicBlock):
            raise UserError(
                f"model.backbone.stride_on=1x1: the blocks of {name} have no 1x1 convolution to "
                "put it on, give 3x3"
            )
        for layer in (net.layer2, net.layer3, net.layer4):
            first = layer[0]
            first.conv1.stride, first.conv2.stride = first.conv2.stride, first.conv1.stride
    fill_classifier(net, name, weights)
    stem = nn.Sequential(net.conv1, net.bn1, net.relu, net.maxpool)
    expansion = net.layer4[-1].expansion
    return (
        [stem, net.layer1, net.layer2, net.layer3, net.layer4],
        [64, *(width * expansion for width in (64, 128, 256, 512))],
        [4, 4, 8, 16, 32],
    )
