"""A small residual net of our own, for a first run on a laptop's processor."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from fcos_lightning.errors import UserError, shown


class TinyNet(nn.Module):
    """A stem of stride 4 and residual stages, each after the first of half the resolution.

    Args:
        widths: channels of each stage; the first has stride 4.
        depths: residual blocks of each stage.
        norm_layer: makes a normalisation for so many channels.
    """

    def __init__(
        self,
        widths: Sequence[int] = (32, 64, 96, 128),
        depths: Sequence[int] = (1, 2, 2, 1),
        norm_layer: Callable[[int], nn.Module] = nn.BatchNorm2d,
    ) -> None:
        super().__init__()
        if (
            not isinstance(widths, Sequence)
            or len(widths) != len(depths)
            or not all(isinstance(width, int) and width > 1 for width in widths)
        ):
            raise UserError(
                f"model.backbone.widths={shown(widths)}: give {len(depths)} whole numbers above 1"
            )
        stem = nn.Sequential(
            *_conv(3, widths[0] // 2, 3, 2, norm_layer),
            *_conv(widths[0] // 2, widths[0], 3, 2, norm_layer),
        )
        stages: list[nn.Module] = [stem]
        before = widths[0]
        for index, (width, depth) in enumerate(zip(widths, depths, strict=True)):
            blocks: list[nn.Module] = []
            for block in range(depth):
                stride = 2 if index > 0 and block == 0 else 1
                blocks.append(_Residual(before, width, stride, norm_layer))
                before = width
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.ModuleList(stages)
        self.channels = [widths[0], *widths]
        self.strides = [4, *(4 * 2**index for index in range(len(widths)))]


class _Residual(nn.Module):
    """Two 3x3 convolutions beside a shortcut (arXiv 1512.03385, basic block)."""

    def __init__(
        self, before: int, width: int, stride: int, norm_layer: Callable[[int], nn.Module]
    ) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *_conv(before, width, 3, stride, norm_layer),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            norm_layer(width),
        )
        same = before == width and stride == 1
        self.shortcut = (
            nn.Identity()
            if same
            else nn.Sequential(*_conv(before, width, 1, stride, norm_layer)[:2])
        )
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        added: Tensor = self.relu(self.body(x) + self.shortcut(x))
        return added


def _conv(
    before: int, width: int, kernel: int, stride: int, norm_layer: Callable[[int], nn.Module]
) -> list[nn.Module]:
    return [
        nn.Conv2d(before, width, kernel, stride, kernel // 2, bias=False),
        norm_layer(width),
        nn.ReLU(inplace=True),
    ]
