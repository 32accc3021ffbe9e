"""Optimiser and learning rate over a run."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from fcos_lightning.backbones.build import HasStages
from fcos_lightning.errors import UserError
from fcos_lightning.printing import first_line


class Schedule:
    """How long and how fast a detector learns.

    Args:
        optimizer: makes an optimiser of parameter groups, as ``functools.partial(SGD, ...)``.
        lr: learning rate for a batch of ``reference_batch`` images; scaled linearly to others
            (arXiv 1706.02677).
        reference_batch: images over all devices that ``lr`` was chosen for.
        max_steps: length of the run in optimiser steps; or
        max_epochs: its length in epochs.
        weight_decay: of weights of convolutions.
        bias_lr_factor: learning rate of biases over that of weights; 2 in the official code.
        bias_weight_decay: of biases; 0 in the official code.
        norm_weight_decay: of weights of normalisation layers; None: as other weights, which is
            the official way.
        backbone_lr_factor: learning rate of the backbone over that of the rest.
        backbone_waits: so many optimiser steps, or a share of the run if below 1, in which the
            backbone does not learn; its rate is as ever afterwards.
        layer_lr_decay: learning rate of each stage of the backbone over that of the stage behind
            it; the last one's is the backbone's. 1: all the same.
        warmup_steps: optimiser steps before the full rate; below 1 a share of the run.
        warmup_factor: rate at the beginning over the full one.
        warmup: ``constant`` holds that rate, ``linear`` rises from it.
        decay: ``step`` or ``cosine``.
        milestones: where ``step`` multiplies the rate by ``gamma``: optimiser steps, or shares of
            the run if below 1.
        gamma: see ``milestones``.
        final_factor: where ``cosine`` ends, over the full rate.
    """

    def __init__(
        self,
        optimizer: Callable[..., Optimizer],
        lr: float,
        *,
        reference_batch: int = 16,
        max_steps: int | None = None,
        max_epochs: int | None = None,
        weight_decay: float = 1e-4,
        bias_lr_factor: float = 1.0,
        bias_weight_decay: float = 0.0,
        norm_weight_decay: float | None = None,
        backbone_lr_factor: float = 1.0,
        backbone_waits: float = 0,
        layer_lr_decay: float = 1.0,
        warmup_steps: float = 0,
        warmup_factor: float = 1 / 3,
        warmup: Literal["constant", "linear"] = "linear",
        decay: Literal["step", "cosine"] = "step",
        milestones: Sequence[float] = (),
        gamma: float = 0.1,
        final_factor: float = 0.0,
    ) -> None:
        for name, length in (("max_steps", max_steps), ("max_epochs", max_epochs)):
            if length is not None and length < 1:
                raise UserError(f"schedule.{name}={length}: give at least 1")
        if (max_steps is None) == (max_epochs is None):
            raise UserError(
                "schedule: give the length of the run as one of max_steps and max_epochs, "
                f"not max_steps={max_steps} and max_epochs={max_epochs}"
            )
        for key, value, known in (
            ("warmup", warmup, ("constant", "linear")),
            ("decay", decay, ("step", "cosine")),
        ):
            if value not in known:
                raise UserError(f"schedule.{key}={value}: give {' or '.join(known)}")
        if not 0 < lr < math.inf:
            raise UserError(f"schedule.lr={lr}: give a number above 0")
        if reference_batch < 1:
            raise UserError(f"schedule.reference_batch={reference_batch}: give at least 1")
        for key, number in (
            ("weight_decay", weight_decay),
            ("bias_lr_factor", bias_lr_factor),
            ("bias_weight_decay", bias_weight_decay),
            ("norm_weight_decay", norm_weight_decay or 0.0),
            ("backbone_lr_factor", backbone_lr_factor),
            ("backbone_waits", backbone_waits),
            ("layer_lr_decay", layer_lr_decay),
            ("warmup_steps", warmup_steps),
            ("warmup_factor", warmup_factor),
            ("gamma", gamma),
            ("final_factor", final_factor),
            *(("milestones", milestone) for milestone in milestones),
        ):
            if not 0 <= number < math.inf:
                raise UserError(f"schedule.{key}={number}: give a number of at least 0")
        for key, mark in (
            ("backbone_waits", backbone_waits),
            ("warmup_steps", warmup_steps),
            *(("milestones", milestone) for milestone in milestones),
        ):
            if mark > 1 and mark != int(mark):
                raise UserError(
                    f"schedule.{key}={mark}: give a whole number of optimiser steps, or a share of "
                    "the run below 1"
                )
        if not 0 < layer_lr_decay <= 1:
            raise UserError(
                f"schedule.layer_lr_decay={layer_lr_decay}: give a number above 0 and at most 1, "
                "the rate of a stage over that of the one behind it; stages that shall not learn "
                "are model.backbone.frozen_stages"
            )
        self.optimizer = optimizer
        self.lr = lr
        self.reference_batch = reference_batch
        self.max_steps = max_steps
        self.max_epochs = max_epochs
        self.weight_decay = weight_decay
        self.bias_lr_factor = bias_lr_factor
        self.bias_weight_decay = bias_weight_decay
        self.norm_weight_decay = weight_decay if norm_weight_decay is None else norm_weight_decay
        self.backbone_lr_factor = backbone_lr_factor
        self.backbone_waits = backbone_waits
        self.layer_lr_decay = layer_lr_decay
        self.warmup_steps = warmup_steps
        self.warmup_factor = warmup_factor
        self.warmup = warmup
        self.decay = decay
        self.milestones = sorted(milestones)
        self.gamma = gamma
        self.final_factor = final_factor

    def scaled_lr(self, batch_size: int) -> float:
        """Return the full learning rate for so many images in an optimiser step."""
        return self.lr * batch_size / self.reference_batch

    def factor(self, step: int, total_steps: int) -> float:
        """Return the learning rate at an optimiser step over the full one.

        Args:
            step: 0-based.
            total_steps: length of the run.
        """
        warmup_steps = _steps(self.warmup_steps, total_steps)
        warm = 1.0
        if step < warmup_steps:
            done = step / warmup_steps if self.warmup == "linear" else 0.0
            warm = self.warmup_factor + (1 - self.warmup_factor) * done
        if self.decay == "step":
            passed = bisect_right([_steps(mark, total_steps) for mark in self.milestones], step)
            return float(warm * self.gamma**passed)
        progress = max(step - warmup_steps, 0) / max(total_steps - warmup_steps, 1)
        half_wave = (1 + math.cos(math.pi * min(progress, 1.0))) / 2
        return warm * (self.final_factor + (1 - self.final_factor) * half_wave)

    def configure(
        self, detector: nn.Module, batch_size: int, total_steps: int
    ) -> tuple[Optimizer, LambdaLR]:
        """Return the optimiser of a detector and what sets its rate at each step."""
        lr = self.scaled_lr(batch_size)
        groups = self.parameter_groups(detector, lr)
        try:
            optimizer = self.optimizer(groups, lr=lr)
        except Exception as error:  # whatever a library says to options that do not fit
            kind = type(error).__name__
            raise UserError(f"schedule.optimizer: {kind}: {first_line(error)}") from error
        optimizer.register_load_state_dict_post_hook(_lie_as_parameters)
        waits = _steps(self.backbone_waits, total_steps)

        def waiting(step: int) -> float:
            return 0.0 if step < waits else self.factor(step, total_steps)

        def usual(step: int) -> float:
            return self.factor(step, total_steps)

        of_backbone = [group["name"].startswith("backbone") for group in optimizer.param_groups]
        return optimizer, LambdaLR(optimizer, [waiting if one else usual for one in of_backbone])

    def parameter_groups(self, detector: nn.Module, lr: float) -> list[dict[str, Any]]:
        """Sort the parameters that learn into weights, biases and norms of backbone and rest.

        Raises:
            UserError: if stages shall differ, and the backbone does not tell them.
        """
        groups: dict[str, dict[str, Any]] = {}
        behind = {} if self.layer_lr_decay == 1 else _stages_behind(detector)
        for name, kind, parameter in _named_kinds(detector):
            if not parameter.requires_grad:
                continue
            part = "backbone" if name.startswith("backbone.") else "rest"
            rate = lr * (self.backbone_lr_factor if part == "backbone" else 1.0)
            if part == "backbone" and behind:
                stages = behind[id(parameter)]
                part, rate = f"backbone.{stages}", rate * self.layer_lr_decay**stages
            decay = self.weight_decay
            if kind == "bias":
                rate, decay = rate * self.bias_lr_factor, self.bias_weight_decay
            elif kind == "norm":
                decay = self.norm_weight_decay
            group = groups.setdefault(
                f"{part}/{kind}",
                {"params": [], "lr": rate, "weight_decay": decay, "name": f"{part}/{kind}"},
            )
            group["params"].append(parameter)
        return list(groups.values())


def _named_kinds(detector: nn.Module) -> Iterable[tuple[str, str, nn.Parameter]]:
    norms = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm)
    for prefix, module in detector.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            kind = "bias" if name == "bias" else "norm" if isinstance(module, norms) else "weight"
            yield f"{prefix}.{name}".lstrip("."), kind, parameter


def _stages_behind(detector: nn.Module) -> dict[int, int]:
    """Return for each parameter of the backbone, by its id, how many stages are behind its own."""
    backbone = detector.get_submodule("backbone")
    if not isinstance(backbone, HasStages):
        raise UserError(
            f"schedule.layer_lr_decay: {type(backbone).__name__} does not tell its stages, as "
            "ordered_stages(); leave it at 1, and see schedule.backbone_lr_factor"
        )
    stages = backbone.ordered_stages()
    found = {
        id(parameter): len(stages) - place
        for place, modules in enumerate(stages, start=1)
        for module in modules
        for parameter in module.parameters()
    }
    # What lies behind all stages, as a last normalisation.
    return {id(parameter): found.get(id(parameter), 0) for parameter in backbone.parameters()}


def _lie_as_parameters(optimizer: Optimizer) -> None:
    """Lay what an optimiser has loaded in memory as its parameters lie.

    These lie otherwise where a run goes on on another device or in another precision, and fused
    optimisers refuse to work on both.
    """
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            like = isinstance(value, Tensor) and value.shape == parameter.shape
            if like and value.stride() != parameter.stride():
                state[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def _steps(mark: float, total_steps: int) -> int:
    return round(mark * total_steps) if 0 < mark < 1 else int(mark)
