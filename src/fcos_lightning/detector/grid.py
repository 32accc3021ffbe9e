"""Padded size and strides -> the places that predict, with or without anchor boxes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from fcos_lightning.detector.parts import Padded, Part
from fcos_lightning.errors import UserError
from fcos_lightning.structures import Points


@dataclass(frozen=True)
class Grid(Part):
    """The points of all levels for a batch of any padded size.

    Args:
        strides: of the levels in pixels; no option, the FPN says it.
        offset: where in its cell a point sits: 0.5 in the middle (paper, section 3.1), 0 in its
            corner (torchvision).
        spacing: of a level's points: its ``stride``, or ``image``: image size // map size, as
            torchvision has it.
        anchor_scales: sizes of anchor boxes in strides; RetinaNet's three are 4 times 1, 2^(1/3)
            and 2^(2/3) (arXiv 1708.02002, section 4). None at all: points without anchors.
        anchor_ratios: height over width of those, each in every size.
        square_scales: sizes of further anchor boxes that are square, in strides (SSD has one, arXiv
            1512.02325, section 2.2).
        pooled_from: no option either: stride of the map that all levels are pooled from, so that
            cells which are not full are left out, see ``HRFPN``; None: they are not.

    Raises:
        UserError: if an option is unknown, or there are sizes without ratios.
    """

    kind: ClassVar[str] = "grid"

    strides: tuple[int, ...]
    offset: float = 0.5
    spacing: Literal["stride", "image"] = "stride"
    anchor_scales: tuple[float, ...] = ()
    anchor_ratios: tuple[float, ...] = ()
    square_scales: tuple[float, ...] = ()
    pooled_from: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if bool(self.anchor_scales) != bool(self.anchor_ratios):
            raise UserError(
                "model.grid: anchors have sizes and ratios; give both anchor_scales and "
                "anchor_ratios, or neither"
            )
        for option in ("anchor_scales", "anchor_ratios", "square_scales"):
            if any(not 0 < one < math.inf for one in getattr(self, option)):
                raise UserError(f"model.grid.{option}: give numbers above 0")

    def __call__(self, padded: Padded | tuple[int, int]) -> Points:
        """Return the points for a batch, or for a padded height and width in pixels."""
        size, device = padded, None
        if not isinstance(padded, tuple):
            size, device = padded.padded_size, padded.device
        assert isinstance(size, tuple)
        cells = [tuple(self._cells(side, stride) for side in size) for stride in self.strides]
        points = make_points(
            cells,  # type: ignore[arg-type]  # pairs, as size is one
            self.strides,
            self.offset,
            device,
            image_size=size if self.spacing == "image" else None,
        )
        if not self.anchor_scales and not self.square_scales:
            return points
        count = self.per_cell
        per_level = [height * width for height, width in points.feature_sizes]
        anchors = self.anchors_wh().to(points.xy.device, non_blocking=True)
        size_wh = [one.repeat(cell, 1) for one, cell in zip(anchors, per_level, strict=True)]
        return Points(
            xy=points.xy.repeat_interleave(count, dim=0),
            stride=points.stride.repeat_interleave(count),
            feature_sizes=points.feature_sizes,
            strides=points.strides,
            size_wh=torch.cat(size_wh),
            per_cell=count,
        )

    @property
    def per_cell(self) -> int:
        """Points of each cell: one for each anchor, else one."""
        return max(len(self.anchor_scales) * len(self.anchor_ratios) + len(self.square_scales), 1)

    def anchors_wh(self) -> Tensor:
        """Return width and height of the anchors of a cell, ``[levels, per_cell, 2]`` pixels.

        Sizes are cut and half sides rounded to whole pixels, as torchvision does
        (``models/detection/retinanet.py``, ``anchor_utils.py``), ratios before sizes; the further
        squares come last.
        """
        return torch.cat(
            [
                self._sides(self.anchor_scales, self.anchor_ratios),
                self._sides(self.square_scales, (1.0,)),
            ],
            dim=1,
        )

    def _sides(self, scales: Sequence[float], ratios: Sequence[float]) -> Tensor:
        """Width and height of each ratio in each size, ``[levels, ratios * scales, 2]`` pixels."""
        strides = torch.tensor(self.strides, dtype=torch.float64)
        sizes = (strides[:, None] * torch.tensor(scales, dtype=torch.float64)).floor().float()
        high = torch.tensor(ratios).sqrt()
        sides = torch.stack([1 / high, high], dim=-1)  # [ratios, 2]
        half = (sizes[:, None, :, None] * sides[None, :, None, :] / 2).round()
        return (2 * half).flatten(1, 2)

    def spec(self) -> dict[str, Any]:
        """Return the options; what the FPN says is derived anew."""
        derived = ("strides", "pooled_from")
        return {key: value for key, value in super().spec().items() if key not in derived}

    def _cells(self, side: int, stride: int) -> int:
        """How many cells of a level lie along a side of the padded images, both in pixels."""
        if self.pooled_from is None:
            return quotient_up(side, stride)
        step = self.strides[0] // self.pooled_from
        full = quotient_up(side, self.pooled_from) // (stride // self.strides[0])
        return quotient_up(max(full, 1), step)


def quotient_up(number: int, divisor: int) -> int:
    """Return ``number / divisor`` rounded up, of whole numbers above 0.

    In whole numbers, as they may be symbols of an exporter; and none of them negative, as ONNX
    rounds quotients towards 0.
    """
    return (number + divisor - 1) // divisor


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
        feature_sizes=tuple((height, width) for height, width in feature_sizes),
        strides=tuple(strides),
    )
