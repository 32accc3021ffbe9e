"""The same detector, made to answer faster: BatchNorm inside convolutions, memory laid out to fit.

In evaluation a BatchNorm is one multiplication and one addition for each channel (arXiv 1502.03167,
section 3.1), and so can be done by the convolution before it, to the rounding of float32.
"""

from __future__ import annotations

import copy
from collections import Counter
from typing import Any, Literal, cast

import torch
from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torchvision.ops import FrozenBatchNorm2d

from fcos_lightning.backbones.timm_nets import TimmBackbone
from fcos_lightning.detector.dense import DenseDetector
from fcos_lightning.errors import UserError
from fcos_lightning.layers.deform import DeformableConv2d
from fcos_lightning.layers.frozen import FoldedConv2d, PassedBatchNorm2d

#: Linear in its weights, and of these types exactly: a subclass may compute anything.
_CONVOLUTIONS = (nn.Conv2d, DeformableConv2d)
_NORMS: tuple[type[nn.Module], ...] = (nn.BatchNorm2d, nn.SyncBatchNorm, FrozenBatchNorm2d)


def for_inference(
    detector: DenseDetector,
    channels_last: bool | Literal["auto"] = "auto",
    device: torch.device | str | None = None,
) -> DenseDetector:
    """Return a copy in evaluation mode that finds the same boxes in less time.

    It is for use, not for keeping: its weights no longer stand under the names that a checkpoint
    has for them.

    Args:
        detector: stays as it is.
        channels_last: whether the channels of a pixel lie side by side in memory, which changes no
            result. ``auto``: on processors, where it was measured to be faster for every kind of
            backbone (docs/deployment.md); elsewhere as the detector's weights lie.
        device: on which it will run; None: where it lies.

    Raises:
        UserError: if ``channels_last`` is none of these.
    """
    if channels_last not in (True, False, "auto"):
        raise UserError(f"channels_last={channels_last}: give auto, true or false")
    faster = copy.deepcopy(detector).eval().requires_grad_(False)
    fold_batchnorm(faster.backbone)
    if channels_last == "auto":
        if torch.device(device or detector.mean.device).type != "cpu":
            return faster
        channels_last = True
    layout = torch.channels_last if channels_last else torch.contiguous_format
    return faster.to(memory_format=layout)


def fold_batchnorm(module: nn.Module) -> int:
    """Let convolutions do, in place, what BatchNorm does to their outputs and to nothing else.

    A convolution that runs more than once, or whose output anything else reads, stays as it is,
    and so does all of a module whose steps depend on its input, which ``torch.fx`` cannot follow.

    Args:
        module: in evaluation mode.

    Returns:
        How many there were.
    """
    already = _settle(module)
    pairs = _pairs(module)
    for names in pairs:
        conv, norm = (cast(Any, module.get_submodule(name)) for name in names)
        statistics = norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
        conv.weight, conv.bias = fuse_conv_bn_weights(conv.weight, conv.bias, *statistics)
        # timm's go on with dropout and an activation.
        rest = [getattr(norm, name) for name in ("drop", "act") if hasattr(norm, name)]
        module.set_submodule(names[1], nn.Sequential(*rest) if rest else nn.Identity())
    return already + len(pairs)


def _settle(module: nn.Module) -> int:
    """Make those convolutions ordinary ones that do a frozen norm's work in training as well."""
    folded = [name for name, part in module.named_modules() if isinstance(part, FoldedConv2d)]
    passed = [name for name, part in module.named_modules() if isinstance(part, PassedBatchNorm2d)]
    for name in folded:
        module.set_submodule(name, cast(FoldedConv2d, module.get_submodule(name)).plain())
    for name in passed:
        module.set_submodule(name, nn.Identity())
    return len(folded)


def _pairs(module: nn.Module) -> list[tuple[str, str]]:
    """Return the names of convolutions and of the BatchNorm behind each."""
    norms = _NORMS
    if isinstance(module, TimmBackbone):
        from timm.layers import BatchNormAct2d, FrozenBatchNormAct2d

        norms = (*norms, BatchNormAct2d, FrozenBatchNormAct2d)
    try:
        with torch.no_grad():  # else activation checkpointing would stand in the way
            # On a copy, as a net may keep what it is given.
            graph = _Tracer(norms).trace(copy.deepcopy(module))
    except Exception:  # of any net's own code
        return []
    calls = Counter(node.target for node in graph.nodes if node.op == "call_module")
    pairs = []
    for node in graph.nodes:
        before = node.args[0] if node.op == "call_module" and node.args else None
        if not isinstance(before, fx.Node) or before.op != "call_module":
            continue
        conv, norm = (module.get_submodule(str(one.target)) for one in (before, node))
        known = type(conv) in _CONVOLUTIONS and type(norm) in norms
        alone = calls[node.target] == calls[before.target] == len(before.users) == 1
        # A hook would see something else; without statistics those of the batch are used.
        hooks = (conv._forward_hooks, norm._forward_hooks, norm._forward_pre_hooks)
        if known and alone and not any(hooks) and norm.running_mean is not None:
            pairs.append((str(before.target), str(node.target)))
    return pairs


class _Tracer(fx.Tracer):
    """Looks into every module but convolutions, norms, and what is torch's in another guise."""

    def __init__(self, norms: tuple[type[nn.Module], ...]) -> None:
        super().__init__()
        self.norms = norms

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        is_kept = isinstance(m, (*_CONVOLUTIONS, *self.norms, nn.ReLU6))
        return is_kept or super().is_leaf_module(m, module_qualified_name)
