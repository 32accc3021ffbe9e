"""Weights by a source's keys, and the operations that published detectors consist of."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor


class Weights:
    """A checkpoint that comes into being as a forward pass asks for its keys.

    Args:
        given: weights that are there already; without them all are made, random by their key.

    Attributes:
        asked: everything that was asked for, by key: the whole checkpoint in the end.
    """

    def __init__(self, given: Mapping[str, Tensor] | None = None) -> None:
        self.given = given
        self.asked: dict[str, Tensor] = {}

    def __call__(self, key: str, *shape: int) -> Tensor:
        """Return the weight of a key, which has this shape.

        Raises:
            ValueError: if it has another one.
        """
        if key not in self.asked:
            value = _random(key, shape) if self.given is None else self.given[key]
            if tuple(value.shape) != shape:
                raise ValueError(f"{key}: {list(shape)} was asked for, it is {list(value.shape)}")
            self.asked[key] = value
        return self.asked[key]


def _random(key: str, shape: tuple[int, ...]) -> Tensor:
    """Return numbers that keep maps of about the same size from layer to layer."""
    if key.endswith("num_batches_tracked"):
        return torch.zeros(shape, dtype=torch.int64)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(zlib.crc32(key.encode())))
    if len(shape) == 4:
        # The first convolution sees pixels of up to 255.
        return noise / math.sqrt(math.prod(shape[1:])) / (64 if shape[1] == 3 else 1)
    if key.endswith("running_var"):
        return 1 + 0.2 * noise.abs()
    if key.endswith(("weight", "scale")):
        return 1 + 0.1 * noise
    if key.endswith(("cls_logits.bias", "conv_cls.bias", "cls_pred.bias")):
        return 0.5 * noise - 2.5
    if key.endswith("cls_score.bias"):  # detectron2's threshold is .2, on the score
        return 0.5 * noise - 1
    if key.endswith(("bbox_pred.bias", "conv_reg.bias")):
        return 1 + 0.1 * noise
    return 0.1 * noise


def conv(
    weights: Weights,
    key: str,
    image: Tensor,
    channels: int,
    side: int = 3,
    stride: int = 1,
    groups: int = 1,
    bias: bool = True,
) -> Tensor:
    """Return a convolution ``[B, channels, H / stride, W / stride]``, padded to keep the size."""
    kernel = weights(f"{key}.weight", channels, image.shape[1] // groups, side, side)
    added = weights(f"{key}.bias", channels) if bias else None
    return F.conv2d(image, kernel, added, stride, side // 2, groups=groups)


def batch_norm(
    weights: Weights,
    key: str,
    image: Tensor,
    epsilon: float = 1e-5,
    counted: bool = True,
    affine: str | None = None,
) -> Tensor:
    """Return BatchNorm in evaluation.

    Args:
        weights: of the detector.
        key: of the norm.
        image: ``[B, C, H, W]``.
        epsilon: added to the variance.
        counted: whether it also has a counter of batches.
        affine: key of its weight and bias, where that is another.
    """
    weight, bias, mean, variance = (
        weights(f"{at}.{leaf}", image.shape[1])[:, None, None]
        for at, leaf in (
            (affine or key, "weight"),
            (affine or key, "bias"),
            (key, "running_mean"),
            (key, "running_var"),
        )
    )
    if counted:
        weights(f"{key}.num_batches_tracked")
    return (image - mean) / (variance + epsilon).sqrt() * weight + bias


def group_norm(weights: Weights, key: str, image: Tensor, groups: int = 32) -> Tensor:
    """Return GroupNorm (arXiv 1803.08494, eq. 1 to 6)."""
    grouped = image.unflatten(1, (groups, -1))
    mean = grouped.mean((2, 3, 4), keepdim=True)
    variance = grouped.var((2, 3, 4), unbiased=False, keepdim=True)
    normal = ((grouped - mean) / (variance + 1e-5).sqrt()).flatten(1, 2)
    weight, bias = (weights(f"{key}.{leaf}", image.shape[1]) for leaf in ("weight", "bias"))
    return normal * weight[:, None, None] + bias[:, None, None]


def deformable_conv(
    weights: Weights,
    key: str,
    offset_key: str,
    image: Tensor,
    channels: int,
    stride: int = 1,
    groups: int = 1,
    bias: bool = True,
    modulated: bool = True,
) -> Tensor:
    """Return a deformable 3x3 convolution (arXiv 1811.11168, eq. 1; without masks 1703.06211).

    Its offsets lie as in the kernels of the official code, of detectron2 and of mmcv (there
    ``modulated_deformable_im2col_gpu_kernel``): channel ``2 i`` moves place ``i`` down, channel
    ``2 i + 1`` right, and channel ``18 + i`` is its mask before the sigmoid.
    """
    learnt = conv(weights, offset_key, image, 27 if modulated else 18, stride=stride)
    height, width = learnt.shape[-2:]
    rows = stride * torch.arange(height)[:, None]
    columns = stride * torch.arange(width)[None, :]
    places = []
    for place in range(9):
        y = rows + place // 3 - 1 + learnt[:, 2 * place]
        x = columns + place % 3 - 1 + learnt[:, 2 * place + 1]
        mask = learnt[:, 18 + place].sigmoid() if modulated else torch.ones_like(y)
        places.append(_bilinear(image, y, x) * mask[:, None])
    looked_at = torch.stack(places, dim=2).flatten(3).unflatten(1, (groups, -1))
    kernel = weights(f"{key}.weight", channels, image.shape[1] // groups, 3, 3)
    by_group = kernel.flatten(2).unflatten(0, (groups, -1))
    out = torch.einsum("bgckp,gock->bgop", looked_at, by_group).flatten(1, 2)
    out = out.unflatten(2, (height, width))
    return out + weights(f"{key}.bias", channels)[:, None, None] if bias else out


def _bilinear(image: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Return ``image`` ``[B, C, H, W]`` at places ``[B, h, w]``; outside it is zero."""
    height, width = image.shape[-2:]
    top, left = y.floor(), x.floor()
    total = torch.zeros(*image.shape[:2], *y.shape[1:])
    for row, column in ((top, left), (top, left + 1), (top + 1, left), (top + 1, left + 1)):
        share = (1 - (y - row).abs()) * (1 - (x - column).abs())
        inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
        index = row.clamp(0, height - 1) * width + column.clamp(0, width - 1)
        index = index.long().flatten(1)[:, None].expand(-1, image.shape[1], -1)
        value = image.flatten(2).gather(2, index).unflatten(2, y.shape[1:])
        total += value * (share * inside)[:, None]
    return total
