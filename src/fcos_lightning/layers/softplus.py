"""``softplus`` of many numbers on a processor."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

#: Of ``artanh(s) / s - 1`` as a polynomial of ``s**2`` up to a ninth, the last coefficient first;
#: off by no more than 2e-8.
_ARTANH = (0.13425749, 0.1411831, 0.2000378, 0.3333332)


def quick_softplus(logits: Tensor) -> Tensor:
    """Return ``log(1 + exp(x))`` to a few units of float32's last place.

    On a processor torch's ``log1p`` may take four times as long as all of this, depending on what
    else the process has worked out before.
    With ``s = e / (2 + e)``, ``e = exp(-|x|)``, it is ``2 artanh(s)``, and ``s`` at most a third.
    """
    if (
        logits.device.type != "cpu"
        or logits.dtype != torch.float32
        or torch.compiler.is_compiling()
    ):
        return F.softplus(logits)
    small = logits.abs().neg_().exp_()
    ratio = small.div_(small + 2)
    squared = ratio.square()
    total = squared * _ARTANH[0]
    for coefficient in _ARTANH[1:]:
        total = total.add_(coefficient).mul_(squared)
    return total.add_(1).mul_(ratio).mul_(2).add_(logits.clamp(min=0))
