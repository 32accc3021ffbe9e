"""MobileNetV2 of timm under torchvision's names; timm's residual nets have them already."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

_LAYERS = {
    # Blocks without and with a first expansion.
    False: {"conv_dw": "0.0", "bn1": "0.1", "conv_pw": "1", "bn2": "2"},
    True: {
        "conv_pw": "0.0", "bn1": "0.1", "conv_dw": "1.0", "bn2": "1.1", "conv_pwl": "2", "bn3": "3"
    },
}  # fmt: skip


def from_timm(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights under torchvision's names; those that are no such net's unchanged."""
    if "conv_stem.weight" not in state or "blocks.0.0.conv_dw.weight" not in state:
        return dict(state)
    block = re.compile(r"blocks\.(\d+)\.(\d+)\.(\w+)\.(\w+)")
    found = {match.groups()[:2] for key in state if (match := block.fullmatch(key))}
    index = {
        place: number
        for number, place in enumerate(sorted(found, key=lambda p: (int(p[0]), int(p[1]))), 1)
    }
    outer = {"conv_stem": "0.0", "bn1": "0.1", "conv_head": "18.0", "bn2": "18.1"}
    result: dict[str, Tensor] = {}
    for key, value in state.items():
        match = block.fullmatch(key)
        name, _, leaf = key.partition(".")
        if match is not None:
            expands = f"blocks.{match[1]}.{match[2]}.conv_pwl.weight" in state
            layer = _LAYERS[expands].get(match[3], match[3])
            ours = f"features.{index[match[1], match[2]]}.conv.{layer}.{match[4]}"
        elif name in outer:
            ours = f"features.{outer[name]}.{leaf}"
        else:
            ours = key
        result[ours] = value
    return result
