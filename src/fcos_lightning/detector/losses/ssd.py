"""SSD's losses: softmax with the background, its hardest anchors only, and offsets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from fcos_lightning.detector.heads.retinanet import AnchorPrediction
from fcos_lightning.detector.heads.ssd import OFFSET_UNITS
from fcos_lightning.detector.losses.mined import RowLoss, mined_sum
from fcos_lightning.detector.losses.retinanet import offsets_of
from fcos_lightning.detector.parts import Loss
from fcos_lightning.detector.rows import rows_that_count, taken, taken_of_each_image
from fcos_lightning.structures import Assignment, Losses, Points, Prediction, Totals
from fcos_lightning.structures.on_device import placed


@dataclass(frozen=True)
class SSDLoss(Loss):
    """The two losses of SSD (arXiv 1512.02325, section 2.2).

    Terms: ``cls``, cross-entropy of the softmax over the classes and the background, of the
    positives and of the anchors of the background that have the largest loss, so many in each
    image. ``box``, smooth L1 of the positives' offsets, in the head's units, summed over the four.
    Both are divided by the number of positives.

    An image without a positive has as many negatives as one with one; elsewhere it has none, and
    nothing is learnt from it.

    Args:
        negatives: anchors of the background for each positive.
        beta: below this difference smooth L1 is quadratic.

    Raises:
        UserError: if ``negatives`` is below 0 or ``beta`` not above.
    """

    name: ClassVar[str] = "ssd"

    negatives: float = 3.0
    beta: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_at_least(negatives=0)
        self.require("beta", self.beta > 0, "a number above 0")

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
            ValueError: if the prediction is not one of anchors.
        """
        if not isinstance(prediction, AnchorPrediction) or points.size_wh is None:
            raise ValueError("the loss ssd needs the head ssd")
        with torch.autocast(prediction.cls_logits.device.type, enabled=False):
            totals = totals or Totals(self.totals(assignment))
            cls = mined_sum(
                BackgroundSoftmax(),
                prediction.cls_logits,
                assignment.labels,
                self.negatives,
                assignment.ignored,
            )
            rows = rows_that_count(assignment.positive.flatten())
            positive = taken(assignment.positive.flatten(), rows)[:, None]
            anchors_wh = taken_of_each_image(points.size_wh, rows, len(assignment.labels))
            units = placed(OFFSET_UNITS, prediction.offsets.device, prediction.offsets.dtype)
            # Background rows get a harmless pair of equal boxes: no NaN, no gradient.
            ltrb_px = taken(assignment.ltrb_px.flatten(0, 1), rows)
            target = offsets_of(torch.where(positive, ltrb_px, 1.0), anchors_wh) / units
            predicted = taken(prediction.offsets.flatten(0, 1), rows).float() / units
            predicted = torch.where(positive, predicted, target)
            box = F.smooth_l1_loss(predicted, target, reduction="sum", beta=self.beta)
            return Losses(
                {
                    "cls": cls / totals.positives_for_classes(at_least=1.0),
                    "box": box / totals.share("positives", at_least=1.0),
                }
            )


class BackgroundSoftmax(RowLoss):
    """Cross-entropy of the softmax over classes and a background, whose logit is 0."""

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return ``log(1 + sum(exp(logits)))``, less the logit of the label if there is one."""
        return self._parts(logits, labels)[0]

    def loss_and_slope(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the same, and the probabilities, less 1 at the label."""
        loss, powers, total = self._parts(logits, labels)
        place, positive = labels.clamp(min=0)[:, None], (labels >= 0).to(logits.dtype)[:, None]
        return loss, powers.div_(total).scatter_add_(1, place, -positive)

    def _parts(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the loss; and ``exp(logits)`` and the sum of them and 1, both reduced alike."""
        # The background's logit is one of those that the largest is taken of.
        largest = logits.detach().amax(dim=1, keepdim=True).clamp_(min=0)
        powers = (logits - largest).exp_()
        total = powers.sum(dim=1, keepdim=True) + (-largest).exp()
        right = logits.gather(1, labels.clamp(min=0)[:, None]).squeeze(1)
        loss = (total.log() + largest).squeeze(1) - torch.where(labels >= 0, right, 0.0)
        return loss, powers, total
