"""Logits relative to a background -> Detections: the softmax, then as ever."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from fcos_lightning.detector.decoders.nms import NMSDecoder
from fcos_lightning.structures import Detections, Points, Prediction


@dataclass(frozen=True)
class SSDDecoder(NMSDecoder):
    """The best boxes by the softmax over the classes and a background, whose logit is 0.

    All else, and the options, are those of ``NMSDecoder``.
    """

    name: ClassVar[str] = "ssd"

    @torch.no_grad()
    def candidates(
        self, prediction: Prediction, points: Points, sizes_hw: Tensor
    ) -> list[Detections]:
        """Return what passes each image's threshold and top-k, not in order."""
        sigmoid = replace(prediction, cls_logits=as_sigmoid(prediction.cls_logits))
        return super().candidates(sigmoid, points, sizes_hw)


def as_sigmoid(logits: Tensor) -> Tensor:
    """Return the logits ``[..., C]`` whose sigmoid is the softmax of these and a background's 0."""
    log_probability = logits.float() - F.softplus(logits.float().logsumexp(dim=-1, keepdim=True))
    # The logit of p is log p - log(1 - p); where p rounds to 1, a large number will do.
    rest = (-log_probability.exp()).log1p().clamp(min=-50.0)
    return log_probability - rest
