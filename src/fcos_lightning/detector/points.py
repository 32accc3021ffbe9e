"""Feature sizes and strides -> the places that predict."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from fcos_lightning.structures import Points


def make_points(
    feature_sizes: Sequence[tuple[int, int]],
    strides: Sequence[int],
    offset: float = 0.5,
    device: torch.device | str | None = None,
    image_size: tuple[int, int] | None = None,
) -> Points:
    """Return one point for each cell of each level, level-major and row-major inside a level.

    Cell ``(row, column)`` of a level sits at ``((column + offset) * stride, (row + offset) *
    stride)`` in the padded image (paper, section 3.1, with ``offset = 0.5``).

    Args:
        feature_sizes: (height, width) of each level.
        strides: stride of each level in pixels.
        offset: 0.5 puts points in the middle of their cells; torchvision's FCOS uses 0.
        device: where the points lie.
        image_size: height and width of the padded image, where points shall lie ``image_size //
            feature size`` pixels apart, as torchvision has it: at height 800 its P6 and P7 have
            rows 61 and 114 pixels apart, not 64 and 128. None: ``stride`` pixels apart.

    Raises:
        ValueError: if there are not as many strides as levels.
    """
    if len(feature_sizes) != len(strides):
        raise ValueError(f"{len(feature_sizes)} feature sizes but {len(strides)} strides")
    xy, stride_of_point = [], []
    for (height, width), stride in zip(feature_sizes, strides, strict=True):
        step_y, step_x = stride, stride
        if image_size is not None:
            step_y, step_x = image_size[0] // height, image_size[1] // width
        ys = (torch.arange(height, device=device, dtype=torch.float32) + offset) * step_y
        xs = (torch.arange(width, device=device, dtype=torch.float32) + offset) * step_x
        grid_y, grid_x = torch.meshgrid(ys, xs, indexing="ij")
        xy.append(torch.stack([grid_x, grid_y], dim=-1).flatten(0, 1))
        stride_of_point.append(torch.full((height * width,), float(stride), device=device))
    return Points(
        xy=torch.cat(xy),
        stride=torch.cat(stride_of_point),
        feature_sizes=tuple((int(height), int(width)) for height, width in feature_sizes),
        strides=tuple(strides),
    )
