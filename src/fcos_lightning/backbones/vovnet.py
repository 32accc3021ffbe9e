"""VoVNet (arXiv 1904.09730) and VoVNetV2 (1911.06667), as published FCOS models have them.

timm's nets of these names are others: in V2 only the last block of a stage has attention, and in V1
no block has a shortcut.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fcos_lightning.errors import UserError
from fcos_lightning.weights.files import read_weights

_CONV = re.compile(
    r"(?:stem\.stem_([123])"
    r"|stage([2-5])\.OSA\2_(\d+)\.(?:layers\.(\d+)\.OSA\2_\3_\4|concat\.OSA\2_\3_concat))"
    r"/(conv|norm)\.(\w+)"
)
_GATE = re.compile(r"stage([2-5])\.OSA\1_(\d+)\.ese\.fc\.(\w+)")


class OneShot(nn.Module):
    """Convolutions one after the other, whose outputs are merged at once (1904.09730, fig. 2).

    Args:
        before: channels of the input.
        width: channels of each convolution.
        channels: of the output.
        layers: how many convolutions.
        attention: weigh the output's channels by their means (1911.06667, eq. 2).
        shortcut: add the input.
        norm_layer: makes a normalisation for so many channels.
    """

    def __init__(
        self,
        before: int,
        width: int,
        channels: int,
        layers: int,
        attention: bool,
        shortcut: bool,
        norm_layer: Callable[[int], nn.Module],
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(*_conv(width if index else before, width, 3, 1, norm_layer))
            for index in range(layers)
        )
        self.merge = nn.Sequential(*_conv(before + layers * width, channels, 1, 1, norm_layer))
        self.gate = nn.Conv2d(channels, channels, 1) if attention else None
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Return ``[B, channels, H, W]`` for ``[B, before, H, W]``."""
        seen = [x]
        for layer in self.layers:
            seen.append(layer(seen[-1]))
        merged: Tensor = self.merge(torch.cat(seen, dim=1))
        if self.gate is not None:
            merged = merged * F.hardsigmoid(self.gate(merged.mean((2, 3), keepdim=True)))
        return merged + x if self.shortcut else merged


def vovnet_stages(
    weights: str | None,
    norm_layer: Callable[[int], nn.Module],
    blocks: Sequence[int] = (1, 1, 2, 2),
    layers: int = 5,
    widths: Sequence[int] = (128, 160, 192, 224),
    channels: Sequence[int] = (256, 512, 768, 1024),
    attention: bool = True,
) -> tuple[list[nn.Module], list[int], list[int]]:
    """Return the stages of a VoVNet with their channels and strides in pixels; V2-39 by default.

    Args:
        weights: path of a file in the layout of the authors' vovnet-detectron2; None starts fresh.
        norm_layer: makes a normalisation for so many channels.
        blocks: of each stage: (1, 1, 4, 3) in V-57, (1, 3, 9, 3) in V-99.
        layers: convolutions of each block: 3 in V-19.
        widths: channels of these, by stage.
        channels: of each stage's output.
        attention: V2's, in every block; V1 has none.

    Raises:
        UserError: if the weights do not fit.
    """
    stem = nn.Sequential(
        *_conv(3, 64, 3, 2, norm_layer),
        *_conv(64, 64, 3, 1, norm_layer),
        *_conv(64, 128, 3, 2, norm_layer),
    )
    stages: list[nn.Module] = [stem]
    before = 128
    for index, (count, width, wide) in enumerate(zip(blocks, widths, channels, strict=True)):
        pool = nn.MaxPool2d(3, stride=2, ceil_mode=True) if index else nn.Identity()
        parts: list[nn.Module] = [pool]
        for block in range(count):
            parts.append(OneShot(before, width, wide, layers, attention, block > 0, norm_layer))
            before = wide
        stages.append(nn.Sequential(*parts))
    if weights is not None:
        _fill(nn.ModuleList(stages), weights)
    return stages, [128, *channels], [4, *(4 * 2**index for index in range(len(channels)))]


def own_key(name: str) -> str | None:
    """Return the key among ``stages`` for a name of vovnet-detectron2's; None if it has none."""
    if match := _GATE.fullmatch(name):
        return f"{int(match[1]) - 1}.{match[2]}.gate.{match[3]}"
    match = _CONV.fullmatch(name)
    if match is None:
        return None
    stem, stage, block, layer, kind, leaf = match.groups()
    place = int(kind == "norm")
    if stem:
        return f"0.{3 * (int(stem) - 1) + place}.{leaf}"
    part = f"layers.{layer}" if layer else "merge"
    return f"{int(stage) - 1}.{block}.{part}.{place}.{leaf}"


def _fill(stages: nn.Module, weights: str) -> None:
    if weights == "imagenet":
        raise UserError(
            "model.backbone.weights=imagenet: there are none to download for vovnet; give the path "
            "of a file of vovnet-detectron2, or null to start fresh"
        )
    given = {
        own_key(name) or name: value
        for name, value in read_weights(Path(weights)).items()
        # A classifier's last layer, and BatchNorm's counter, which means nothing to a frozen one.
        if not name.startswith(("fc.", "classifier.")) and not name.endswith("batches_tracked")
    }
    own = {k: v for k, v in stages.state_dict().items() if not k.endswith("batches_tracked")}
    wrong = sorted(set(own) ^ set(given)) or sorted(
        key for key in own if own[key].shape != given[key].shape
    )
    if wrong:
        raise UserError(
            f"model.backbone.weights={weights}: not weights of this vovnet; {len(wrong)} keys are "
            f"missing, unknown or of another shape (first: {wrong[0]})"
        )
    stages.load_state_dict(given, strict=False)


def _conv(
    before: int, width: int, kernel: int, stride: int, norm_layer: Callable[[int], nn.Module]
) -> list[nn.Module]:
    return [
        nn.Conv2d(before, width, kernel, stride, kernel // 2, bias=False),
        norm_layer(width),
        nn.ReLU(inplace=True),
    ]
