"""Backbones of timm (Apache-2.0), any that gives feature maps; imported only when asked for."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from fcos_lightning.errors import UserError
from fcos_lightning.extras import pip_install
from fcos_lightning.weights.files import read_weights

PREFIX = "timm/"


class TimmBackbone(nn.Module):
    """A net of timm with feature maps of stride 8, 16 and 32, or finer ones beside.

    Args:
        name: of the model, as ``timm.list_models()`` has it, with or without a tag.
        weights: ``imagenet`` downloads the published ones of the tag (without a tag, timm's first
            choice), a path loads a file in timm's own layout, None starts fresh.
        norm: see ``build_backbone``.
        frozen_stages: so many of the feature stages that timm declares for the net do not learn,
            with all that lies before them.
        finest_stride: of the feature maps, in pixels.
        branches: of HRNet, the maps of its four branches as they are, the first of stride 4, for
            ``fpn.merge: concatenate``; else they are widened, as for classification.

    Attributes:
        channels: of each feature map, fine to coarse.
        strides: of each feature map in pixels, fine to coarse.
        input: ``mean``, ``std`` (0 to 255 scale) and ``channel_order`` of the published weights.

    Raises:
        UserError: if timm is not installed, has no such model or weights, the model gives no such
            feature maps for images of any size, or an option means nothing for it.
    """

    def __init__(
        self,
        name: str,
        weights: str | None = None,
        norm: Literal["frozen", "trained"] = "frozen",
        frozen_stages: int = 0,
        finest_stride: int = 8,
        branches: bool = False,
    ) -> None:
        super().__init__()
        if branches and not name.startswith("hrnet"):
            raise UserError(f"model.backbone.branches=true: {PREFIX}{name} has none, give false")
        try:
            import timm
            from timm.layers import freeze_batch_norm_2d
        except ImportError as error:
            raise UserError(
                f"model.backbone.name={PREFIX}{name}: timm is not installed; {pip_install('timm')}"
            ) from error
        if not timm.is_model(name):
            near = difflib.get_close_matches(name.split(".")[0], timm.list_models(), 3)
            hint = f", perhaps {' or '.join(near)}" if near else ""
            raise UserError(f"model.backbone.name={PREFIX}{name}: timm has no such model{hint}")
        net, found = _create(name, weights, finest_stride, branches)
        if norm == "frozen":
            before = _count_norms(net)
            net = freeze_batch_norm_2d(net)
            if _count_norms(net) == before:
                raise UserError(
                    f"model.backbone.norm=frozen: {PREFIX}{name} has no BatchNorm; give trained"
                )
        self.name = name
        self.net = net
        self.channels = tuple(net.feature_info.channels())
        self.strides = tuple(net.feature_info.reduction())
        self.input = {
            "mean": [round(255 * value, 6) for value in found["mean"]],
            "std": [round(255 * value, 6) for value in found["std"]],
            "channel_order": "rgb",
        }
        self._check_maps(name)
        self._frozen = self._stages(name, frozen_stages)
        for module in self._frozen:
            module.requires_grad_(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the feature maps of normalised ``images`` ``[B, 3, H, W]``, fine to coarse."""
        features: list[Tensor] = self.net(images)
        return features

    def train(self, mode: bool = True) -> TimmBackbone:
        """Switch to training mode, all but the frozen stages: their statistics stand still."""
        super().train(mode)
        for module in self._frozen:
            module.eval()
        return self

    def ordered_stages(self) -> list[list[nn.Module]]:
        """Return the modules with weights of each feature stage that timm declares.

        What lies before a stage belongs to it: the stem is of the first.

        Raises:
            UserError: if the stages do not lie one after the other.
        """
        declared: Any = self.net.feature_info
        names = [str(info["module"]) for info in declared.info]
        # Where timm has taken a net apart, dots of its own names have become underscores.
        joined = [name.replace(".", "_") for name in names]
        children = dict(self.net.named_children())
        names = [two if two in children else one for one, two in zip(names, joined, strict=True)]
        leaves = [
            (name, module)
            for name, module in self.net.named_modules()
            if any(True for _ in module.parameters(recurse=False)) or name in names
        ]
        ends = [
            max(
                (place for place, (leaf, _) in enumerate(leaves) if _lies_in(leaf, name)),
                default=-1,
            )
            for name in names
        ]
        if ends != sorted(ends) or -1 in ends:
            raise UserError(
                f"schedule.layer_lr_decay: the stages of {PREFIX}{self.name} do not lie one after "
                "the other; leave it at 1, and see schedule.backbone_lr_factor"
            )
        starts = [0, *(end + 1 for end in ends[:-1])]
        return [
            [
                module
                for name, module in leaves[start : end + 1]
                if any(True for _ in module.parameters(recurse=False))
            ]
            for start, end in zip(starts, ends, strict=True)
        ]

    def _check_maps(self, name: str) -> None:
        """Look at the maps of a small image, and at which weights they depend."""
        learning = [p for p in self.net.parameters() if p.requires_grad]
        self.net.eval()
        with torch.enable_grad():
            image = torch.zeros(1, 3, 64, 96, device=learning[0].device, dtype=learning[0].dtype)
            try:
                maps = self.net(image)
            except Exception as error:  # nets refuse a size in many ways
                raise UserError(
                    f"model.backbone.name={PREFIX}{name}: takes no images of 64x96 pixels, so not "
                    f"of any size ({str(error).splitlines()[0] if str(error) else error!r})"
                ) from error
            shapes = [tuple(m.shape[1:]) for m in maps]
            wanted = [
                (width, 64 // stride, 96 // stride)
                for width, stride in zip(self.channels, self.strides, strict=True)
            ]
            if shapes != wanted:
                raise UserError(
                    f"model.backbone.name={PREFIX}{name}: gives maps {shapes}, not {wanted}; "
                    "only nets with maps [channels, height, width] can be used"
                )
            total = torch.stack([m.sum() for m in maps]).sum()
            gradients = torch.autograd.grad(total, learning, allow_unused=True)
        self.net.train()
        # DistributedDataParallel waits for a gradient of everything that may learn.
        for parameter, gradient in zip(learning, gradients, strict=True):
            if gradient is None:
                parameter.requires_grad_(False)

    def _stages(self, name: str, count: int) -> list[nn.Module]:
        """Return the modules up to the end of the ``count``-th feature stage."""
        if count == 0:
            return []
        declared: Any = self.net.feature_info
        names = [str(info["module"]).replace(".", "_") for info in declared.info]
        children = dict(self.net.named_children())
        if not set(names) <= set(children):
            raise UserError(
                f"model.backbone.frozen_stages={count}: the stages of {PREFIX}{name} do not lie "
                "one after the other, give 0"
            )
        if not 0 < count <= len(names):
            raise UserError(
                f"model.backbone.frozen_stages={count}: {PREFIX}{name} has {len(names)} stages, "
                f"give 0 to {len(names)}"
            )
        last = list(children).index(names[count - 1])
        return list(children.values())[: last + 1]


def _lies_in(name: str, module: str) -> bool:
    return name == module or name.startswith(f"{module}.")


def _create(
    name: str, weights: str | None, finest_stride: int, branches: bool
) -> tuple[Any, Mapping[str, Any]]:
    """Return the net with its weights, and timm's description of the published ones."""
    import timm

    try:
        probe = timm.create_model(name, features_only=True)
    except (RuntimeError, AssertionError, AttributeError) as error:  # what timm says "no" with
        raise UserError(
            f"model.backbone.name={PREFIX}{name}: timm cannot make feature maps of it ({error})"
        ) from error
    described = probe.pretrained_cfg if hasattr(probe, "pretrained_cfg") else probe.default_cfg
    strides = [info["reduction"] for info in probe.feature_info.info]
    if not all(strides.count(stride) == 1 for stride in (8, 16, 32)):
        raise UserError(
            f"model.backbone.name={PREFIX}{name}: its feature maps have strides "
            f"{sorted(set(strides))}; strides 8, 16 and 32 are needed"
        )
    options: dict[str, Any] = {
        "features_only": True,
        "out_indices": tuple(
            index
            for index, stride in enumerate(strides)
            if stride in (8, 16, 32) or finest_stride <= stride < 8
        ),
    }
    if branches:
        options |= {
            "feature_location": "",
            "out_indices": tuple(map(strides.index, (4, 8, 16, 32))),
        }
    if weights not in (None, "imagenet"):
        state = read_weights(Path(str(weights)))
        _check_keys(name, str(weights), state)
        options |= {"pretrained": True, "pretrained_cfg_overlay": {"state_dict": state}}
    elif weights == "imagenet":
        options["pretrained"] = True
    try:
        net = timm.create_model(name, **options)
    except Exception as error:  # of the hub, the network, the file system
        raise UserError(
            f"model.backbone.weights={weights}: the weights of {PREFIX}{name} could not be had "
            f"({' '.join(str(error).split())}); give the path of a file, or null to start fresh"
        ) from error
    return net, described


def _check_keys(name: str, path: str, state: Mapping[str, Tensor]) -> None:
    """Refuse what timm would leave out in silence: missing and unknown keys, other shapes."""
    import timm

    plain = timm.create_model(name)
    heads = plain.pretrained_cfg.get("classifier") or ()
    heads = tuple(f"{head}." for head in ((heads,) if isinstance(heads, str) else heads))
    own = {
        key: value.shape
        for key, value in plain.state_dict().items()
        if not key.startswith(heads) and not key.endswith("num_batches_tracked")
    }
    given = {
        key: value.shape
        for key, value in state.items()
        if not key.startswith(heads) and not key.endswith("num_batches_tracked")
    }
    missing, unknown = sorted(set(own) - set(given)), sorted(set(given) - set(own))
    other = sorted(key for key in set(own) & set(given) if own[key] != given[key])
    if missing or unknown or other:
        raise UserError(
            f"model.backbone.weights={path}: not weights of timm's {name}; "
            f"{len(missing)} keys missing {missing[:1]}, {len(unknown)} unknown {unknown[:1]}, "
            f"{len(other)} of other shape {other[:1]}"
        )


def _count_norms(net: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in net.modules())
