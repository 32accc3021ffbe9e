"""From weights under our names to the options of ``build_fcos`` that they were made with."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from fcos_lightning.errors import UserError

Weights = Mapping[str, Tensor]

#: What torchvision's frozen BatchNorm adds to the variance.
_EPSILON = 1e-5
_VARIANCE = re.compile(r"backbone\..+\.running_var")

#: Blocks of the four stages -> depth, and whether the blocks are bottlenecks.
_RESNETS = {
    ((2, 2, 2, 2), False): "resnet18",
    ((3, 4, 6, 3), False): "resnet34",
    ((3, 4, 6, 3), True): "resnet50",
    ((3, 4, 23, 3), True): "resnet101",
    ((3, 8, 36, 3), True): "resnet152",
}

#: Groups and channels of a group in the first stage -> name.
_RESNEXTS = {(32, 8): "resnext101_32x8d", (64, 4): "resnext101_64x4d"}


def spec_of(weights: Weights) -> dict[str, Any]:
    """Return number of classes, backbone, FPN and head as the tensors show them.

    Raises:
        UserError: if the weights are of no net that ``build_fcos`` can build.
    """
    need(weights, "head.cls_logits.weight")
    net = net_of(weights)
    return {
        "num_classes": weights["head.cls_logits.weight"].shape[0],
        **net,
        "head": _head(weights, net["fpn"]["channels"]),
    }


def net_of(weights: Weights) -> dict[str, Any]:
    """Return backbone and FPN as the tensors show them, whatever head is on them.

    Raises:
        UserError: if the weights are of no net that ``build_detector`` can build.
    """
    need(weights, "fpn.output.0.weight")
    channels = weights["fpn.output.0.weight"].shape[0]
    if "fpn.merge.weight" in weights:
        return {"backbone": _hrnet(weights), "fpn": _hrfpn(weights, channels)}
    need(weights, "fpn.lateral.0.weight")
    return {"backbone": _backbone(weights), "fpn": _fpn(weights, channels)}


def need(weights: Weights, *keys: str) -> None:
    """Refuse weights without some of our keys.

    Raises:
        UserError: listing them.
    """
    missing = sorted(key for key in keys if key not in weights)
    if missing:
        raise UserError(f"nothing in it belongs to {', '.join(missing)}")


def with_masks(weights: Weights) -> dict[str, Tensor]:
    """Return deformable convolutions that have no masks as modulated ones, which compute the same.

    A mask whose logit is always 0 is 1/2, for which doubled weights make up, without rounding.
    """
    result = dict(weights)
    for key, value in weights.items():
        before, found, leaf = key.rpartition("offset.")
        if found and value.shape[:1] == (18,):
            result[key] = torch.cat([value, value.new_zeros(9, *value.shape[1:])])
            if leaf == "weight" and f"{before}weight" in weights:
                result[f"{before}weight"] = 2 * weights[f"{before}weight"]
    return result


def without_epsilon(weights: Weights) -> dict[str, Tensor]:
    """Return the weights of a source whose frozen BatchNorm adds nothing to the variance.

    Ours, which is torchvision's, adds a little: that is taken off the backbone's variances.
    """
    return {
        key: value - _EPSILON if _VARIANCE.fullmatch(key) else value
        for key, value in weights.items()
    }


def with_offsets(weights: Weights) -> dict[str, Tensor]:
    """Return stages in which some bottlenecks are deformable with all of them so.

    The others get offsets of 0, with which they compute what they did. mmdetection's
    ``fallback_on_stride`` leaves the first bottleneck ordinary.
    """
    result = dict(weights)
    of_stage = _offsets(weights)
    for key in weights:
        match = re.fullmatch(r"(backbone\.stages\.(\d)\.\d+\.conv2)\.weight", key)
        for leaf in ("weight", "bias") if match else ():
            assert match is not None
            alike = of_stage.get((match[2], leaf))
            if alike is not None and f"{match[1]}.offset.{leaf}" not in weights:
                result[f"{match[1]}.offset.{leaf}"] = alike.new_zeros(18, *alike.shape[1:])
    return result


def _offsets(weights: Weights) -> dict[tuple[str, str], Tensor]:
    """Return weight and bias of one of each stage's convolutions that predict offsets."""
    offset = re.compile(r"backbone\.stages\.(\d)\.\d+\.conv2\.offset\.(weight|bias)")
    found = ((offset.fullmatch(key), value) for key, value in weights.items())
    return {(match[1], match[2]): value for match, value in found if match}


def stride_on(weights: Weights, caffe: bool) -> str | None:
    """Where a bottleneck of these weights strides, which no tensor tells.

    Args:
        weights: under our names.
        caffe: whether nets without groups came from Caffe; those with groups never did.
    """
    if "backbone.stages.1.0.conv3.weight" not in weights:
        return None
    return "1x1" if caffe and _groups(weights) == 1 else "3x3"


def _is_resnext(weights: Weights) -> bool:
    """Tell a ResNeXt by the groups of its 3x3 convolutions."""
    return "backbone.stages.1.0.conv3.weight" in weights and _groups(weights) > 1


def _groups(weights: Weights) -> int:
    shape = weights["backbone.stages.1.0.conv2.weight"].shape
    return int(shape[0] // shape[1])


def _backbone(weights: Weights) -> dict[str, Any]:
    trained = any(k.startswith("backbone.") and k.endswith("num_batches_tracked") for k in weights)
    spec: dict[str, Any] = {"weights": None, "norm": "trained" if trained else "frozen"}
    if "backbone.net.base_layer.0.weight" in weights:
        return {**spec, "name": "timm/dla34", "frozen_stages": 0}
    if "backbone.net.conv1.0.weight" in weights:
        name = _resnet(weights, "backbone.net.layer")
        return {**spec, "name": f"timm/{name}d", "frozen_stages": 0 if trained else 2}
    if "backbone.stages.1.0.conv.0.0.weight" in weights:
        return {**spec, "name": "mobilenet_v2", "frozen_stages": 0}
    if "backbone.stages.1.1.merge.0.weight" in weights:
        return {**spec, **_vovnet(weights), "frozen_stages": 0}
    need(weights, "backbone.stages.1.0.conv1.weight", "backbone.stages.1.0.conv2.weight")
    name = _resnet(weights, "backbone.stages.")
    if _is_resnext(weights):
        shape = weights["backbone.stages.1.0.conv2.weight"].shape
        groups = (_groups(weights), int(shape[1]))
        if name != "resnet101" or groups not in _RESNEXTS:
            raise UserError(
                f"no backbone here is a {name} with {groups[0]} groups of {groups[1]} channels"
            )
        name = _RESNEXTS[groups]
    deformable = sorted({int(stage) + 1 for stage, _ in _offsets(weights)})
    if deformable:
        spec["deformable_stages"] = deformable
    return {**spec, "name": name, "frozen_stages": 0 if trained else 2}


def _resnet(weights: Weights, stages: str) -> str:
    """Return a residual net's name by the number of its blocks.

    Args:
        weights: under our names.
        stages: what stands before the number of a stage.
    """
    block = re.compile(re.escape(stages) + r"(\d)\.(\d+)\.conv1\.weight")
    found = [match.groups() for key in weights if (match := block.fullmatch(key))]
    depths = tuple(sum(stage == str(n) for stage, _ in found) for n in (1, 2, 3, 4))
    bottleneck = f"{stages}1.0.conv3.weight" in weights
    if (depths, bottleneck) not in _RESNETS:
        kind = "bottlenecks" if bottleneck else "blocks"
        raise UserError(f"no backbone here has {list(depths)} {kind}")
    return _RESNETS[depths, bottleneck]


def _vovnet(weights: Weights) -> dict[str, Any]:
    merges = re.compile(r"backbone\.stages\.(\d)\.(\d+)\.merge\.0\.weight")
    found = [match.groups() for key in weights if (match := merges.fullmatch(key))]
    stages = [f"backbone.stages.{stage}.1" for stage in (1, 2, 3, 4)]
    need(weights, *(f"{at}.{part}.0.weight" for at in stages for part in ("layers.0", "merge")))
    layers = re.compile(r"backbone\.stages\.1\.1\.layers\.\d+\.0\.weight")
    return {
        "name": "vovnet",
        "blocks": [sum(stage == str(n) for stage, _ in found) for n in (1, 2, 3, 4)],
        "layers": sum(layers.fullmatch(key) is not None for key in weights),
        "widths": [int(weights[f"{at}.layers.0.0.weight"].shape[0]) for at in stages],
        "channels": [int(weights[f"{at}.merge.0.weight"].shape[0]) for at in stages],
        "attention": f"{stages[0]}.gate.weight" in weights,
    }


def _hrnet(weights: Weights) -> dict[str, Any]:
    need(weights, "backbone.net.transition1.0.0.weight")
    width = weights["backbone.net.transition1.0.0.weight"].shape[0]
    trained = "backbone.net.bn1.num_batches_tracked" in weights
    return {
        "weights": None,
        "name": f"timm/hrnet_w{width}",
        "branches": True,
        "norm": "trained" if trained else "frozen",
        "frozen_stages": 0,
    }


def _hrfpn(weights: Weights, channels: int) -> dict[str, Any]:
    levels = len([key for key in weights if re.fullmatch(r"fpn\.output\.\d\.weight", key)])
    return {"channels": channels, "levels": list(range(3, 3 + levels)), "merge": "concatenate"}


def _fpn(weights: Weights, channels: int) -> dict[str, Any]:
    lateral, extra = (
        len([key for key in weights if re.fullmatch(rf"fpn\.{part}\.\d\.weight", key)])
        for part in ("lateral", "extra")
    )
    from_p5 = not extra or weights["fpn.extra.0.weight"].shape[1] == channels
    return {
        "channels": channels,
        "levels": list(range(3, 3 + lateral + extra)),
        "p6_from": "p5" if from_p5 else "c5",
    }


def _head(weights: Weights, channels: int) -> dict[str, Any]:
    convs = {
        tower: sorted(
            int(match[1])
            for key, value in weights.items()
            if (match := re.fullmatch(rf"head\.{tower}\.(\d+)\.weight", key)) and value.ndim == 4
        )
        for tower in ("shared_tower", "cls_tower", "box_tower")
    }
    tower = next((tower for tower in ("cls_tower", "box_tower") if convs[tower]), "shared_tower")
    uneven = len(convs["cls_tower"]) != len(convs["box_tower"])
    norm = "none"
    if f"head.{tower}.1.0.running_mean" in weights:
        norm = "batch"
    elif f"head.{tower}.1.weight" in weights and weights[f"head.{tower}.1.weight"].ndim == 1:
        norm = "group"
    first = weights.get(f"head.{tower}.0.weight")
    if norm == "group" and first is not None and first.shape[0] == 32:
        raise UserError("its GroupNorm has 32 groups of one channel; here none has less than two")
    return {
        "num_convs": len(convs["cls_tower"]),
        **({"box_convs": len(convs["box_tower"])} if uneven else {}),
        "shared_convs": len(convs["shared_tower"]),
        "channels": None if first is None or first.shape[0] == channels else int(first.shape[0]),
        "norm": norm,
        "tower_bias": first is None or f"head.{tower}.0.bias" in weights,
        "deformable": any(re.match(r"head\.cls_tower\.\d+\.offset\.", key) for key in weights),
        "level_scales": any(key.startswith("head.scales") for key in weights),
    }
