"""Other names for the same weights: rules from keys of a foreign file to ours."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from fcos_lightning.backbones.vovnet import own_key
from fcos_lightning.errors import UserError, shown
from fcos_lightning.printing import some_of

#: A pattern for the whole of a foreign key, and our key for it: as for ``re.sub``, or a function,
#: which gives None for what it does not know either.
Rule = tuple[str, str | Callable[[re.Match[str]], str | None]]

#: Our key for what is no weight of ours: it is left out on purpose.
NOT_NEEDED = ""

#: Of detectron2's residual nets (AdelaiDet's as well), below ``backbone.bottom_up.``.
DETECTRON2_RESNET: tuple[Rule, ...] = (
    (r"backbone\.bottom_up\.stem\.conv1\.norm\.(\w+)", r"backbone.stages.0.1.\1"),
    (r"backbone\.bottom_up\.stem\.conv1\.(\w+)", r"backbone.stages.0.0.\1"),
    (
        r"backbone\.bottom_up\.res([2-5])\.(\d+)\.(shortcut|conv[123]|conv2_offset)(\.norm)?\.(\w+)",
        lambda m: _detectron2_block(*m.groups()),
    ),
)

#: Of detectron2's FPN: P3 to P5 by their numbers, P6 and P7 in a block of their own.
DETECTRON2_FPN: tuple[Rule, ...] = (
    (r"backbone\.fpn_lateral([3-5])\.(\w+)", lambda m: f"fpn.lateral.{int(m[1]) - 3}.{m[2]}"),
    (r"backbone\.fpn_output([3-5])\.(\w+)", lambda m: f"fpn.output.{int(m[1]) - 3}.{m[2]}"),
    (r"backbone\.top_block\.p([67])\.(\w+)", lambda m: f"fpn.extra.{int(m[1]) - 6}.{m[2]}"),
)  # fmt: skip


def renamed(weights: Mapping[str, Tensor], rules: Sequence[Rule]) -> dict[str, Tensor]:
    """Return weights under our names; the first rule whose pattern fits a whole key counts.

    Scales of single levels, ``head.scales.0`` and on, become our one tensor.

    Raises:
        UserError: listing the keys that no rule fits, or that two keys share a name of ours.
    """
    name_of = translator(rules)
    result: dict[str, Tensor] = {}
    unknown: list[str] = []
    for key, value in weights.items():
        name = name_of(key)
        if name is None:
            unknown.append(key)
            continue
        if name in result:
            raise UserError(f"{shown(key)[1:-1]} is there twice under different names")
        if name != NOT_NEEDED:
            result[name] = value
    if unknown:
        raise UserError(f"{len(unknown)} keys are unknown: {some_of(sorted(unknown))}")
    scales = {key: value for key, value in result.items() if key.startswith("head.scales.")}
    for key in scales:
        del result[key]
    if scales:
        in_order = [scales[f"head.scales.{level}"] for level in range(len(scales))]
        result["head.scales"] = torch.stack([scale.reshape(()) for scale in in_order])
    return result


def translator(rules: Sequence[Rule]) -> Callable[[str], str | None]:
    """Return what gives a key's other name; the first rule that fits the whole key counts.

    For a key that no rule fits it gives None.
    """
    compiled = [(re.compile(pattern), other) for pattern, other in rules]

    def name_of(key: str) -> str | None:
        for pattern, other in compiled:
            if match := pattern.fullmatch(key):
                return match.expand(other) if isinstance(other, str) else other(match)
        return None

    return name_of


def _detectron2_block(stage: str, block: str, part: str, norm: str | None, leaf: str) -> str:
    ours = f"backbone.stages.{int(stage) - 1}.{block}"
    if part == "shortcut":
        return f"{ours}.downsample.{1 if norm else 0}.{leaf}"
    if part == "conv2_offset":
        return f"{ours}.conv2.offset.{leaf}"
    return f"{ours}.bn{part[-1]}.{leaf}" if norm else f"{ours}.{part}.{leaf}"


def mobilenet_key(index: int, rest: str) -> str:
    """Return our key for one of ``features`` of MobileNetV2, in torchvision's inner naming."""
    stage = next(s for s, end in enumerate((2, 4, 7, 14, 18)) if index < end)
    return f"backbone.stages.{stage}.{index - (0, 2, 4, 7, 14)[stage]}.{rest}"


def mobilenet_block_key(index: int, part: int, norm: bool, leaf: str) -> str:
    """Return our key for a part of a block of MobileNetV2.

    torchvision groups a convolution with what follows it, but for the last one of a block.

    Args:
        index: of the block among ``features``; the first, 1, does not expand.
        part: 0 expands, 1 is depthwise, 2 projects.
        norm: whether it is the norm or the convolution.
        leaf: as ``weight``.
    """
    place = part - (index == 1)
    inner = f"{place}.{int(norm)}" if part < 2 else f"{place + norm}"
    return mobilenet_key(index, f"conv.{inner}.{leaf}")


def mobilenet_rules(prefix: str) -> tuple[Rule, ...]:
    """Rules for the MobileNetV2 of official FCOS and AdelaiDet, whose blocks are rows of layers.

    Args:
        prefix: a pattern for what stands before ``features``.
    """

    def block(match: re.Match[str]) -> str:
        index, layer = int(match[1]), int(match[2])
        # Convolution, norm and ReLU take turns.
        return mobilenet_block_key(index, layer // 3 + (index == 1), layer % 3 == 1, match[3])

    return (
        (prefix + r"features\.0\.([01]\.\w+)", lambda m: mobilenet_key(0, m[1])),
        (prefix + r"features\.(\d|1[0-7])\.conv\.([013467])\.(\w+)", block),
    )


def vovnet_key(match: re.Match[str]) -> str | None:
    """Return our key for what vovnet-detectron2 names as the match's first group does."""
    own = own_key(match[1])
    return None if own is None else f"backbone.stages.{own}"
