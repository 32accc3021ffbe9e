"""``trainer.compile=true``: the training step by torch.compile."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from fcos_lightning.detector import FCOS


def compile_detector(detector: FCOS, backend: str | Callable[..., Any] = "inductor") -> None:
    """Let torch.compile translate, in place, what a training step runs: net, assignment, losses.

    Each is one graph without a break. Assignment and losses are translated for any size, the net
    for that of the first batch, which suits data of one size best, and with the second size for
    any; later ones need nothing anew, but for maps of a single row or column. Between the graphs
    lies what several devices share: the losses' normalisers.

    Args:
        detector: its parameters and their names stay as they are.
        backend: of ``torch.compile``.
    """
    compiled = partial(torch.compile, fullgraph=True, dynamic=True, backend=backend)
    detector.compile(fullgraph=True, backend=backend)
    detector.assigner = _within(detector.assigner, compiled)
    detector.loss_function = _within(detector.loss_function, compiled)


def _within(
    function: Callable[..., Any], compiled: Callable[[Callable[..., Any]], Callable[..., Any]]
) -> Callable[..., Any]:
    """Compile a function under the options bound to it.

    All ``partial`` objects would share one cache of translations, and throw each other out.
    """
    if isinstance(function, partial):
        return partial(compiled(function.func), *function.args, **function.keywords)
    return compiled(function)
