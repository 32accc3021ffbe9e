"""Activation checkpointing: maps are worked out again on the way back instead of being kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


def recomputed(part: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that computes the same and keeps only its inputs until the gradient.

    Without gradients it is the part itself.
    """
    if not torch.is_grad_enabled():
        return part

    def run(*inputs: Any) -> Any:  # noqa: ANN401  # as the part's
        # Nothing here is random, so there is no state to keep.
        return checkpoint(part, *inputs, use_reentrant=False, preserve_rng_state=False)

    return run


def recompute_activations(detector: nn.Module) -> list[str]:
    """Trade time for memory in training: stages and head keep their inputs only (arXiv 1604.06174).

    Parts with BatchNorm that learns its statistics stay as they are, since these would move twice
    at each step. Of a backbone of the user's own, only the head's share is saved.

    Args:
        detector: as ``build_fcos`` makes it.

    Returns:
        The names of the parts that are computed twice.
    """
    parts: list[str] = []
    backbone: Any = detector.get_submodule("backbone")
    head: Any = detector.get_submodule("head")
    if hasattr(backbone, "recompute"):
        stages = backbone.get_submodule("stages")
        chosen = [index for index, stage in enumerate(stages.children()) if _may_repeat(stage)]
        backbone.recompute = frozenset(chosen)
        parts += [f"backbone.stages.{index}" for index in chosen]
    elif _may_repeat(backbone) and hasattr(
        getattr(backbone, "net", None), "set_grad_checkpointing"
    ):
        backbone.net.set_grad_checkpointing(True)
        parts.append("backbone")
    if hasattr(head, "recompute") and _may_repeat(head):
        head.recompute = True
        parts.append("head")
    return parts


def _may_repeat(part: nn.Module) -> bool:
    """Whether a second run changes nothing, and saves something."""
    learns = any(parameter.requires_grad for parameter in part.parameters())
    moves = any(
        isinstance(module, nn.modules.batchnorm._BatchNorm) and module.training
        for module in part.modules()
    )
    return learns and not moves
