"""Logits relative to a background -> Detections: the softmax, then as ever."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

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

    def passing(
        self, prediction: Prediction, points: Points, image: int
    ) -> tuple[Tensor, Detections]:
        """Return what passes an image's threshold and top-k, and of which points."""
        one = prediction.changed(lambda field: field[image : image + 1])
        return super().passing(replace(one, cls_logits=as_sigmoid(one.cls_logits)), points, 0)


def as_sigmoid(logits: Tensor) -> Tensor:
    """Return the logits ``[..., C]`` whose sigmoid is the softmax of these and a background's 0."""
    log_probability = logits.float() - F.softplus(logits.float().logsumexp(dim=-1, keepdim=True))
    # The logit of p is log p - log(1 - p); where p rounds to 1, a large number will do.
    rest = (-log_probability.exp()).log1p().clamp(min=-50.0)
    return log_probability - rest
