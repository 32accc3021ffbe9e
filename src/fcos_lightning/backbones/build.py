"""Backbones: an image -> feature maps, with ``.channels`` and ``.strides`` to derive the rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, Protocol, runtime_checkable

import torchvision
from torch import Tensor, nn
from torchvision.ops import FrozenBatchNorm2d

from fcos_lightning.backbones.resnet import RESNETS, resnet_stages
from fcos_lightning.backbones.timm_nets import PREFIX, TimmBackbone
from fcos_lightning.backbones.tiny import TinyNet
from fcos_lightning.backbones.vovnet import vovnet_stages
from fcos_lightning.errors import UserError
from fcos_lightning.layers.recompute import recomputed
from fcos_lightning.layers.relu6 import replace_relu6
from fcos_lightning.weights.files import fill_classifier

#: Of nets that have some of their own.
_OPTIONS = {
    "tiny": {"widths", "depths"},
    "vovnet": {"blocks", "layers", "widths", "channels", "attention"},
}


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


@runtime_checkable
class HasStages(Protocol):
    """A backbone that tells its stages, so that they can learn at rates of their own."""

    def ordered_stages(self) -> Sequence[Sequence[nn.Module]]:
        """Return the modules of each stage, the stem first; none of them lies in two stages."""


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
        self.recompute: frozenset[int] = frozenset()  # see recompute_activations
        for stage in self.stages[:frozen_stages]:
            stage.requires_grad_(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the feature maps of normalised ``images`` ``[B, 3, H, W]``, fine to coarse."""
        features = []
        for index, stage in enumerate(self.stages):
            images = recomputed(stage)(images) if index in self.recompute else stage(images)
            if index in self.out_stages:
                features.append(images)
        return features

    def ordered_stages(self) -> list[list[nn.Module]]:
        """Return the stages, see ``HasStages``."""
        return [[stage] for stage in self.stages]

    def drop_after(self, last_map: int) -> None:
        """Leave out the stages after a feature map that nobody reads the maps of.

        They would cost time, and their weights would have no gradient, which stops several devices.

        Args:
            last_map: position of the coarsest feature map that is read.
        """
        kept = last_map + 1
        self.out_stages = self.out_stages[:kept]
        self.channels, self.strides = self.channels[:kept], self.strides[:kept]
        self.stages = self.stages[: self.out_stages[-1] + 1]

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
    stride_on: Literal["3x3", "1x1"] | None = None,
    deformable_stages: Sequence[int] = (),
    finest_stride: int = 8,
    **options: object,
) -> StagedBackbone | TimmBackbone:
    """Return a backbone with feature maps of stride 8, 16 and 32, or finer ones beside.

    Args:
        name: ``resnet18`` to ``resnet152``, ``resnext101_32x8d``, ``resnext101_64x4d``,
            ``mobilenet_v2``, ``vovnet``, ``tiny``, or ``timm/MODEL``, see ``TimmBackbone``.
        weights: ``imagenet`` downloads torchvision's or timm's, a path loads a file, None starts
            fresh.
        norm: whether BatchNorm keeps its statistics and weights (the paper's way with ImageNet
            weights) or trains them.
        frozen_stages: stages from the stem on that do not learn; 2 is the official setting, the
            stem and the first stage of residual blocks. Of timm's nets see ``TimmBackbone``.
        stride_on: of bottleneck ResNets, see ``resnet_stages``; None: ``3x3``. Official,
            AdelaiDet's and mmdetection's caffe-style R-50 and R-101 have it on the ``1x1``.
        deformable_stages: of bottleneck ResNets, see ``resnet_stages``; ``[3, 4, 5]`` in the
            official dcnv2 recipes.
        finest_stride: of the feature maps, in pixels; what the FPN asks for where a detector is
            built. A net that has no map of that stride begins with the finest that it has.
        **options: of ``TinyNet``, ``vovnet_stages`` or ``TimmBackbone``, where that is the name.

    Raises:
        UserError: if there is no such backbone or its weights do not fit.
    """
    if norm not in ("frozen", "trained"):
        raise UserError(f"model.backbone.norm={norm}: give one of frozen, trained")
    norm_layer: Callable[[int], nn.Module] = (
        FrozenBatchNorm2d if norm == "frozen" else nn.BatchNorm2d
    )
    timms = {"branches"} if name.startswith(PREFIX) else set()
    unknown = sorted(set(options) - _OPTIONS.get(name, timms))
    if unknown:
        raise UserError(f"model.backbone: {name} takes no option {', '.join(unknown)}")
    if name not in RESNETS and stride_on is not None:
        raise UserError(f"model.backbone.stride_on={stride_on}: {name} has none, give null")
    if name not in RESNETS and deformable_stages:
        raise UserError(f"model.backbone.deformable_stages: {name} has none, give []")
    if name.startswith(PREFIX):
        return TimmBackbone(
            name[len(PREFIX) :],
            weights,
            norm,
            frozen_stages,
            finest_stride=finest_stride,
            **options,  # type: ignore[arg-type]  # names checked
        )
    if name == "tiny":
        if weights is not None:
            raise UserError(
                f"model.backbone.weights={weights}: there are none for tiny, give null; "
                "init_from=CHECKPOINT starts from a trained detector"
            )
        net = TinyNet(norm_layer=norm_layer, **options)  # type: ignore[arg-type]  # names checked
        stages: list[nn.Module] = list(net.stages)
        channels, strides = net.channels, net.strides
    elif name in RESNETS:
        stages, channels, strides = resnet_stages(
            name, weights, norm_layer, stride_on or "3x3", deformable_stages
        )
    elif name == "vovnet":
        stages, channels, strides = vovnet_stages(weights, norm_layer, **options)  # type: ignore[arg-type]  # likewise
    elif name == "mobilenet_v2":
        net = torchvision.models.get_model(name, weights=None, norm_layer=norm_layer)
        fill_classifier(net, name, weights)
        replace_relu6(net)
        # A stage ends where the next block halves the map; the last 1x1 convolution to 1280
        # channels serves only classification.
        stages = [
            nn.Sequential(*net.features[i:j])
            for i, j in ((0, 2), (2, 4), (4, 7), (7, 14), (14, 18))
        ]
        channels, strides = [16, 24, 32, 96, 320], [2, 4, 8, 16, 32]
    else:
        raise UserError(
            f"model.backbone.name={name}: no such backbone; there are {', '.join(RESNETS)}, "
            "mobilenet_v2, vovnet, tiny and timm/MODEL, or a _target_ of your own"
        )
    # Of stages of one stride, as a stem and the stage behind it, the last.
    out = [
        index
        for index, stride in enumerate(strides)
        if stride >= finest_stride and stride not in strides[index + 1 :]
    ]
    return StagedBackbone(
        stages,
        out,
        [channels[index] for index in out],
        [strides[index] for index in out],
        frozen_stages,
    )
