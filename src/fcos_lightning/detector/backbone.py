"""Backbones: an image -> feature maps, with ``.channels`` and ``.strides`` to derive the rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Literal, Protocol, cast, runtime_checkable

import torch
import torchvision
from torch import Tensor, nn
from torchvision.ops import FrozenBatchNorm2d

from fcos_lightning.detector.tiny import TinyNet
from fcos_lightning.errors import UserError

#: What ``weights: imagenet`` means: the weights detection baselines start from.
_IMAGENET = "IMAGENET1K_V1"


@runtime_checkable
class Backbone(Protocol):
    """What the FPN needs to know of a backbone. Write your own class with these three.

    Attributes:
        channels: of each feature map, fine to coarse.
        strides: of each feature map in pixels, fine to coarse.
    """

    channels: Sequence[int]
    strides: Sequence[int]

    def __call__(self, images: Tensor) -> list[Tensor]:
        """Return one feature map ``[B, channels, H / stride, W / stride]`` for each stride."""


class StagedBackbone(nn.Module):
    """Stages run one after the other; the outputs of some are the feature maps.

    Args:
        stages: the stem first.
        out_stages: which stages' outputs are feature maps.
        channels: of those outputs.
        strides: of those outputs in pixels.
        frozen_stages: so many stages, counted from the stem, do not learn.
    """

    def __init__(
        self,
        stages: Sequence[nn.Module],
        out_stages: Sequence[int],
        channels: Sequence[int],
        strides: Sequence[int],
        frozen_stages: int = 0,
    ) -> None:
        super().__init__()
        if not 0 <= frozen_stages <= len(stages):
            raise UserError(
                f"model.backbone.frozen_stages={frozen_stages}: this backbone has "
                f"{len(stages)} stages (the stem is the first), give 0 to {len(stages)}"
            )
        self.stages = nn.ModuleList(stages)
        self.out_stages = tuple(out_stages)
        self.channels = tuple(channels)
        self.strides = tuple(strides)
        self.frozen_stages = frozen_stages
        for stage in self.stages[:frozen_stages]:
            stage.requires_grad_(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the feature maps of normalised ``images`` ``[B, 3, H, W]``, fine to coarse."""
        features = []
        for index, stage in enumerate(self.stages):
            images = stage(images)
            if index in self.out_stages:
                features.append(images)
        return features

    def train(self, mode: bool = True) -> StagedBackbone:
        """Switch to training mode, all but the frozen stages: their statistics stand still."""
        super().train(mode)
        for stage in self.stages[: self.frozen_stages]:
            stage.eval()
        return self


def build_backbone(
    name: str = "resnet50",
    weights: str | None = None,
    norm: Literal["frozen", "trained"] = "frozen",
    frozen_stages: int = 2,
    **options: object,
) -> StagedBackbone:
    """Return a backbone with feature maps of stride 8, 16 and 32.

    Args:
        name: ``resnet18`` to ``resnet152``, ``mobilenet_v2``, or ``tiny``.
        weights: ``imagenet`` downloads torchvision's, a path loads a file, None starts fresh.
        norm: whether BatchNorm keeps its statistics and weights (the paper's way with ImageNet
            weights) or trains them.
        frozen_stages: stages from the stem on that do not learn; 2 is the official setting, the
            stem and the first stage of residual blocks.
        **options: of ``TinyNet``, where that is the name.

    Raises:
        UserError: if there is no such backbone or its weights do not fit.
    """
    if norm not in ("frozen", "trained"):
        raise UserError(f"model.backbone.norm={norm}: give one of frozen, trained")
    norm_layer: Callable[[int], nn.Module] = (
        FrozenBatchNorm2d if norm == "frozen" else nn.BatchNorm2d
    )
    unknown = sorted(set(options) - ({"widths", "depths"} if name == "tiny" else set()))
    if unknown:
        raise UserError(f"model.backbone: {name} takes no option {', '.join(unknown)}")
    if name == "tiny":
        if weights is not None:
            raise UserError(
                f"model.backbone.weights={weights}: there are none for tiny, give null; "
                "init_from=CHECKPOINT starts from a trained detector"
            )
        net = TinyNet(norm_layer=norm_layer, **options)  # type: ignore[arg-type]  # names checked
        stages: list[nn.Module] = list(net.stages)
        channels, strides = net.channels, net.strides
    elif name in ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152"):
        net = torchvision.models.get_model(name, weights=None, norm_layer=norm_layer)
        _load(net, name, weights)
        stem = nn.Sequential(net.conv1, net.bn1, net.relu, net.maxpool)
        stages = [stem, net.layer1, net.layer2, net.layer3, net.layer4]
        expansion = net.layer4[-1].expansion
        channels, strides = (
            [64, *(width * expansion for width in (64, 128, 256, 512))],
            [4, 4, 8, 16, 32],
        )
    elif name == "mobilenet_v2":
        net = torchvision.models.get_model(
            name, weights=None, norm_layer=partial(_with_eps, norm_layer)
        )
        _load(net, name, weights)
        # A stage ends where the next block halves the map; the last 1x1 convolution to 1280
        # channels serves only classification.
        stages = [
            nn.Sequential(*net.features[i:j])
            for i, j in ((0, 2), (2, 4), (4, 7), (7, 14), (14, 18))
        ]
        channels, strides = [16, 24, 32, 96, 320], [2, 4, 8, 16, 32]
    else:
        raise UserError(
            f"model.backbone.name={name}: no such backbone; there are resnet18, resnet34, "
            "resnet50, resnet101, resnet152, mobilenet_v2 and tiny, or a _target_ of your own"
        )
    out = [index for index, stride in enumerate(strides) if stride >= 8]
    return StagedBackbone(
        stages,
        out,
        [channels[index] for index in out],
        [strides[index] for index in out],
        frozen_stages,
    )


def _with_eps(norm_layer: Callable[[int], nn.Module], channels: int) -> nn.Module:
    """Keep torchvision's call for MobileNet, which passes no epsilon, explicit for both kinds."""
    return norm_layer(channels)


def _load(net: nn.Module, name: str, weights: str | None) -> None:
    """Fill a torchvision classifier; its last layer, which no detector uses, may be missing."""
    if weights is None:
        return
    if weights == "imagenet":
        try:
            state = torchvision.models.get_model_weights(name)[_IMAGENET].get_state_dict(
                progress=True, check_hash=True
            )
        except (OSError, RuntimeError) as error:  # torch.hub: RuntimeError for a wrong hash
            raise UserError(
                f"model.backbone.weights=imagenet: the weights of {name} could not be downloaded "
                f"({error}); give the path of a file, or null to start fresh"
            ) from error
    else:
        state = read_weights(Path(weights))
    classifier = ("fc.", "classifier.", "features.18.")
    own = net.state_dict()
    own_keys = {key for key in own if not key.startswith(classifier)}
    given = {
        key: value
        for key, value in state.items()
        # BatchNorm's counter of batches means nothing to a frozen one.
        if not key.startswith(classifier) and not key.endswith("num_batches_tracked")
    }
    needed = {key for key in own_keys if not key.endswith("num_batches_tracked")}
    missing, unexpected = sorted(needed - set(given)), sorted(set(given) - needed)
    wrong = sorted(k for k in needed & set(given) if given[k].shape != own[k].shape)
    if missing or unexpected or wrong:
        problems = [
            f"{len(keys)} {what} (first: {keys[0]})"
            for what, keys in (
                ("missing", missing),
                ("unknown", unexpected),
                ("of other shape", wrong),
            )
            if keys
        ]
        raise UserError(
            f"model.backbone.weights={weights}: not weights of torchvision's {name}; "
            f"keys {', '.join(problems)}"
        )
    net.load_state_dict(given, strict=False)


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a state dict without running anything that the file may hold.

    Raises:
        UserError: if there is no such file or it holds anything but named tensors.
    """
    if not path.is_file():
        raise UserError(f"weights {path}: no such file")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds, pickle's own among them
        raise UserError(
            f"weights {path}: not a file of plain tensors; nothing in it was run "
            f"({type(error).__name__})"
        ) from error
    if not isinstance(state, dict) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in state.items()
    ):
        raise UserError(
            f"weights {path}: expected a state dict, names and tensors, at the top level"
        )
    return cast("dict[str, Tensor]", state)
