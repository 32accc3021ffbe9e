"""One set of detections from several views of an image: sizes and mirror images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial

import torch
from torch import Tensor
from torchvision.ops import batched_nms

from fcos_lightning.detector.decode import decode
from fcos_lightning.detector.fcos import FCOS
from fcos_lightning.structures import Detections, Images, Points, Prediction

#: Above any overlap, and any number of boxes: decoding then returns all its candidates.
_ALL = {"nms_iou": 1.0, "max_detections": 1 << 60}


@torch.no_grad()
def detect_merged(
    detector: FCOS, views: Iterable[Images], original_hw: Tensor, flip: bool = True
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
        ValueError: if the detector decodes by a function of the user's, whose NMS cannot be held
            back.
    """
    options = _decoder_options(detector)
    candidates = partial(detector.decoder, **_ALL)
    found = []
    for view in views:
        for mirrored in (False, True) if flip else (False,):
            images = _mirrored(view) if mirrored else view
            prediction: Prediction = detector(images)
            points: Points = detector.points(images.padded_size)
            (detections,) = candidates(prediction, points, images.sizes_hw)
            found.append(_in_frame(detections, view.sizes_hw[0], original_hw, mirrored))
    boxes = torch.cat([one.boxes_xyxy for one in found])
    scores = torch.cat([one.scores for one in found])
    labels = torch.cat([one.labels for one in found])
    keep = batched_nms(boxes, scores, labels, float(options.get("nms_iou", 0.6)))
    keep = keep[: int(options.get("max_detections", 100))]
    return Detections(boxes[keep], scores[keep], labels[keep])


def _decoder_options(detector: FCOS) -> dict[str, float]:
    decoder: Callable[..., Sequence[Detections]] = detector.decoder
    if not isinstance(decoder, partial) or decoder.func is not decode:
        raise ValueError("merging views needs a detector that decodes by fcos_lightning's decode")
    return dict(decoder.keywords)


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
