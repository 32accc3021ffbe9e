"""Other names for the same weights: rules from keys of a foreign file to ours."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence

import torch
from torch import Tensor

from fcos_lightning.errors import UserError

#: A pattern for the whole of a foreign key, and our key for it: as for ``re.sub``.
Rule = tuple[str, str | Callable[[re.Match[str]], str]]

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
            raise UserError(f"{key} is there twice under different names")
        if name != NOT_NEEDED:
            result[name] = value
    if unknown:
        raise UserError(f"{len(unknown)} keys are unknown: {listed(unknown)}")
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


def listed(keys: Collection[str], most: int = 30) -> str:
    """Return keys in a row, with a count of those beyond ``most``."""
    shown = ", ".join(sorted(keys)[:most])
    return shown + (f" and {len(keys) - most} more" if len(keys) > most else "")


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
