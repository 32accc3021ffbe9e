"""FoveaBox's losses: focal loss of all points, logarithms of distances of the positive ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from fcos_lightning.detector.heads.foveabox import LogPrediction
from fcos_lightning.detector.losses.focal import sigmoid_focal_sum
from fcos_lightning.detector.parts import Loss
from fcos_lightning.structures import Assignment, Losses, Points, Prediction, Totals

#: Distances beyond are as good as these, in strides (a 16th and 16 times the unit of 4 strides, as
#: the published code has it).
_NEAREST, _FARTHEST = 0.25, 64.0


@dataclass(frozen=True)
class FoveaBoxLoss(Loss):
    """The two losses of FoveaBox (arXiv 1904.03797, section 3.4).

    Terms: ``cls``, focal loss over all points and classes. ``box``, smooth L1 of the logarithms of
    the four distances, summed, over the positives. Both are divided by the number of positives.

    Args:
        beta: below this difference smooth L1 is quadratic.
        focal_alpha: weight of positives in the focal loss.
        focal_gamma: how strongly easy examples are faded out.

    Raises:
        UserError: if ``beta`` is not above 0.
    """

    name: ClassVar[str] = "foveabox"

    beta: float = 0.11
    focal_alpha: float = 0.4
    focal_gamma: float = 1.5

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("beta", self.beta > 0, "a number above 0")
        self.require("focal_alpha", 0 <= self.focal_alpha <= 1, "a number in [0, 1]")
        self.require_at_least(focal_gamma=0)

    def totals(self, assignment: Assignment) -> dict[str, Tensor]:
        """Count the ``positives`` of a batch."""
        return {"positives": assignment.positive.sum().float()}

    def __call__(
        self,
        prediction: Prediction,
        assignment: Assignment,
        points: Points,
        totals: Totals | None = None,
    ) -> Losses:
        """Return the losses of a batch, scalars; ``moving_positives`` count for ``cls``.

        Raises:
            ValueError: if the prediction has no logarithms.
        """
        if not isinstance(prediction, LogPrediction):
            raise ValueError("the loss foveabox needs the head foveabox")
        with torch.autocast(prediction.cls_logits.device.type, enabled=False):
            totals = totals or Totals(self.totals(assignment))
            cls = sigmoid_focal_sum(
                prediction.cls_logits,
                assignment.labels,
                self.focal_alpha,
                self.focal_gamma,
                assignment.ignored,
            )
            positive = assignment.positive[..., None]
            stride = points.stride[:, None]
            target = assignment.ltrb_px.clamp(_NEAREST * stride, _FARTHEST * stride).log()
            # Background rows get a harmless pair of equal numbers: no NaN, no gradient.
            predicted = torch.where(positive, prediction.log_ltrb.float(), target)
            box = F.smooth_l1_loss(predicted, target, reduction="sum", beta=self.beta)
            return Losses(
                {
                    "cls": cls / totals.positives_for_classes(at_least=1.0),
                    "box": box / totals.share("positives", at_least=1.0),
                }
            )
