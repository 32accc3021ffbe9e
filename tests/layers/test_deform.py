"""Deformable convolution against a plain loop over the places it looks at."""

import pytest
import torch
from torch import Tensor, nn

from fcos_lightning.layers.deform import DeformableConv2d


def sampled(plane: Tensor, y: float, x: float) -> float:
    """Return the bilinear value of ``plane`` ``[H, W]`` at (y, x), zero outside."""
    height, width = plane.shape
    top, left = int(y // 1), int(x // 1)
    value = 0.0
    for row in (top, top + 1):
        for column in (left, left + 1):
            if 0 <= row < height and 0 <= column < width:
                value += (1 - abs(y - row)) * (1 - abs(x - column)) * plane[row, column].item()
    return value


def naive(conv: DeformableConv2d, image: Tensor) -> Tensor:
    """Return what the paper's equation (arXiv 1811.11168, eq. 1) gives, place by place."""
    learnt = conv.offset(image[None])[0]
    k, stride, padding = conv.kernel_size[0], conv.stride[0], int(conv.padding[0])
    out = torch.zeros(conv.out_channels, *learnt.shape[1:], dtype=image.dtype)
    per_group_in = conv.in_channels // conv.groups
    per_group_out = conv.out_channels // conv.groups
    for channel in range(conv.out_channels):
        first = channel // per_group_out * per_group_in
        for row in range(out.shape[1]):
            for column in range(out.shape[2]):
                total = 0.0 if conv.bias is None else conv.bias[channel].item()
                for place in range(k * k):
                    dy = learnt[2 * place, row, column].item()
                    dx = learnt[2 * place + 1, row, column].item()
                    weight = learnt[2 * k * k + place, row, column].sigmoid().item()
                    y = row * stride - padding + place // k + dy
                    x = column * stride - padding + place % k + dx
                    for c in range(per_group_in):
                        kernel = conv.weight[channel, c, place // k, place % k].item()
                        total += kernel * weight * sampled(image[first + c], y, x)
                out[channel, row, column] = total
    return out


@pytest.mark.parametrize(("stride", "groups", "bias"), [(1, 1, True), (2, 2, False)])
def test_against_the_equation(stride: int, groups: int, bias: bool) -> None:
    torch.manual_seed(0)
    conv = DeformableConv2d(4, 4, 3, stride, 1, groups, bias).double()
    nn.init.normal_(conv.offset.weight, std=0.3)
    assert conv.offset.bias is not None
    nn.init.normal_(conv.offset.bias, std=1.0)
    image = torch.randn(4, 7, 6, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(conv(image[None])[0], naive(conv, image))


@pytest.mark.parametrize(("stride", "groups", "bias"), [(1, 1, True), (2, 4, False)])
def test_it_starts_as_the_convolution_it_replaces(stride: int, groups: int, bias: bool) -> None:
    plain = nn.Conv2d(8, 12, 3, stride, 1, groups=groups, bias=bias)
    images = torch.randn(2, 8, 9, 7)
    made = DeformableConv2d.starting_as(plain)
    torch.testing.assert_close(made(images), plain(images))
    assert set(made.state_dict()) == set(plain.state_dict()) | {"offset.weight", "offset.bias"}


def test_places_are_exact_under_autocast() -> None:
    torch.manual_seed(0)
    conv = DeformableConv2d(8, 8, 3, padding=1)
    nn.init.normal_(conv.offset.weight, std=0.5)
    images = torch.randn(1, 8, 16, 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = conv(images.bfloat16())
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), conv(images.bfloat16().float()), rtol=0.01, atol=0.01)
