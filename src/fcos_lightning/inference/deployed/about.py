"""What a file for other programs says about itself."""

from __future__ import annotations

import json
from collections.abc import Mapping

from fcos_lightning import __version__
from fcos_lightning.checkpoints import describe
from fcos_lightning.checkpoints.native import KEY
from fcos_lightning.detector import DenseDetector

INPUT = "images"
OUTPUTS = ("boxes", "scores", "labels")


def about_file(
    detector: DenseDetector,
    sides: Mapping[str, int | None],
    *,
    licence: str | None = None,
    precision: str = "fp32",
    size_hw: tuple[int, int] | None = None,
) -> dict[str, str]:
    """Return what stands in a file beside the graph, each value a text.

    Args:
        detector: that it was made of.
        sides: ``shorter_side`` and ``longer_side`` that images were resized to for evaluation, in
            pixels; None where nobody said.
        licence: of the weights, as their owner states it.
        precision: of its numbers.
        size_hw: height and width that images must have; None: any.
    """
    described = describe(detector, **sides)
    return {
        KEY: json.dumps(described),
        "version": f"fcos-lightning {__version__}",
        "license": licence or "not stated",
        "class_names": json.dumps(detector.class_names),
        "category_ids": json.dumps(detector.category_ids),
        "decoder": json.dumps(detector.decoder.spec()),
        "size": json.dumps({**sides, "height_width": size_hw}),
        "precision": precision,
        "images": "uint8 RGB [batch, 3, height, width]; the images of a batch have one size",
        "detections": "boxes float32 [batch, found, 4] xyxy in pixels of the image, scores float32 "
        "[batch, found], labels int64 [batch, found], best first; label -1: no detection",
    }
