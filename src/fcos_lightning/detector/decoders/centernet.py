"""Prediction + Points -> Detections: peaks of the class maps, no NMS."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import batched_nms

from fcos_lightning.boxes import clip_boxes, ltrb_to_xyxy
from fcos_lightning.detector.parts import Decoder
from fcos_lightning.structures import Detections, Points, Prediction


@dataclass(frozen=True)
class PeakDecoder(Decoder):
    """A detection for each point that no neighbour surpasses (arXiv 1904.07850, section 4).

    Boxes that have no area within the image are left out.

    Args:
        score_threshold: a peak needs a higher probability.
        max_detections: at most so many boxes an image, the best.
        kernel: side of the square around a point in which it must be the largest of its class.
        clip_to: the image's edge, or its last pixel.
        views_iou: several views of an image see the same box; of two boxes of a class that overlap
            more than this the weaker one goes. A single view needs nothing of the kind.

    Raises:
        UserError: if the threshold is no probability or the kernel has no middle.
    """

    name: ClassVar[str] = "centernet"

    score_threshold: float = 0.01
    max_detections: int = 100
    kernel: int = 3
    clip_to: Literal["edge", "last_pixel"] = "edge"
    views_iou: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("score_threshold", 0 <= self.score_threshold <= 1, "a number in [0, 1]")
        self.require("views_iou", 0 <= self.views_iou <= 1, "a number in [0, 1]")
        self.require("max_detections", self.max_detections >= 1, "a number of at least 1")
        self.require("kernel", self.kernel > 0 and self.kernel % 2 == 1, "an odd number, as 3")

    @torch.no_grad()
    def __call__(
        self, prediction: Prediction, points: Points, sizes_hw: Tensor
    ) -> list[Detections]:
        """Return the peaks of each image as boxes in pixels of the padded input, best first."""
        return self.candidates(prediction, points, sizes_hw)

    @torch.no_grad()
    def candidates(
        self, prediction: Prediction, points: Points, sizes_hw: Tensor
    ) -> list[Detections]:
        """Return the best peaks of each image, best first.

        Raises:
            ValueError: if a cell has several points, as those of anchors.
        """
        if points.per_cell != 1:
            raise ValueError("the decoder centernet takes points, one of a cell, and no anchors")
        return [
            self._of_image(prediction, points, image, size_hw)
            for image, size_hw in enumerate(sizes_hw)
        ]

    @torch.no_grad()
    def best(self, candidates: Detections, size_hw: Tensor) -> Detections:
        """Return what several views found together, best first."""
        found = candidates
        keep = batched_nms(found.boxes_xyxy, found.scores, found.labels, self.views_iou)
        keep = keep[: self.max_detections]
        return Detections(found.boxes_xyxy[keep], found.scores[keep], found.labels[keep])

    def _of_image(
        self, prediction: Prediction, points: Points, image: int, size_hw: Tensor
    ) -> Detections:
        threshold = self.score_threshold
        least = math.inf if threshold == 1 else -math.inf
        if 0 < threshold < 1:
            least = math.log(threshold / (1 - threshold))
        index, label, logit, first = [], [], [], 0
        levels = torch.split(prediction.cls_logits[image], points.per_level)
        for logits, (height, width) in zip(levels, points.feature_sizes, strict=True):
            planes = logits.float().T.reshape(-1, height, width)
            largest = F.max_pool2d(planes[None], self.kernel, stride=1, padding=self.kernel // 2)
            peaks = ((planes == largest[0]) & (planes > least)).flatten(1)
            of_class, cell = peaks.nonzero(as_tuple=True)
            index.append(first + cell)
            label.append(of_class)
            logit.append(planes.flatten(1)[of_class, cell])
            first += height * width
        point, labels, score = torch.cat(index), torch.cat(label), torch.cat(logit).sigmoid()
        boxes = ltrb_to_xyxy(points.xy[point], prediction.ltrb_px[image][point].float())
        boxes = clip_boxes(boxes, size_hw, last_pixel=self.clip_to == "last_pixel")
        # Sides are any numbers, and the center may lie in the padding.
        (real,) = (boxes[:, 2:] > boxes[:, :2]).all(dim=1).nonzero(as_tuple=True)
        best = score[real].argsort(descending=True, stable=True)[: self.max_detections]
        kept = real[best]
        return Detections(boxes[kept], score[kept], labels[kept])
