"""One set of detections from several views of an image: sizes and mirror images."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from fcos_lightning.detector.dense import DenseDetector
from fcos_lightning.structures import Detections, Images


@torch.no_grad()
def detect_merged(
    detector: DenseDetector, views: Iterable[Images], original_hw: Tensor, flip: bool = True
) -> Detections:
    """Return the boxes that several views of one image give together.

    The candidates of all views, after each view's own threshold and top-k, go through one NMS, as
    in the official code's multi-scale testing.

    Args:
        detector: in evaluation mode.
        views: the image in several sizes, each a batch of one.
        original_hw: ``[2]`` height and width of the frame that boxes are wanted in.
        flip: see each view from left to right as well.

    Raises:
        UserError: if the detector's decoder is somebody's own and keeps its candidates to itself.
    """
    found = []
    for view in views:
        for mirrored in (False, True) if flip else (False,):
            images = _mirrored(view) if mirrored else view
            points = detector.grid(images)
            (candidates,) = detector.decoder.candidates(detector(images), points, images.sizes_hw)
            found.append(_in_frame(candidates, view.sizes_hw[0], original_hw, mirrored))
    together = Detections(
        torch.cat([one.boxes_xyxy for one in found]),
        torch.cat([one.scores for one in found]),
        torch.cat([one.labels for one in found]),
    )
    return detector.decoder.best(together, original_hw)


def _mirrored(view: Images) -> Images:
    """Turn the image from left to right; its padding stays on the right."""
    width = int(view.sizes_hw[0, 1])
    pixels = view.pixels.clone()
    pixels[..., :width] = pixels[..., :width].flip(-1)
    return Images(pixels, view.sizes_hw)


def _in_frame(
    detections: Detections, view_hw: Tensor, original_hw: Tensor, mirrored: bool
) -> Detections:
    boxes = detections.boxes_xyxy
    if mirrored:
        left, top, right, bottom = boxes.unbind(dim=1)
        width = view_hw[1].to(boxes)
        boxes = torch.stack([width - right, top, width - left, bottom], dim=1)
    factor = (original_hw / view_hw).flip(0).repeat(2).to(boxes)
    return Detections(boxes * factor, detections.scores, detections.labels)
