"""A detector as one ONNX model, from pixels to final boxes."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from fcos_lightning.detector import DenseDetector
from fcos_lightning.inference.deployed.about import INPUT, OUTPUTS
from fcos_lightning.inference.deployed.equality import Run
from fcos_lightning.inference.deployed.pipeline import Pipeline
from fcos_lightning.inference.deployed.suppression import in_onnx, unsuppressed_by_runtime
from fcos_lightning.inference.engines.onnx_engine import OnnxEngine, check_packages
from fcos_lightning.inference.engines.onnx_export import name_axes, to_onnx
from fcos_lightning.inference.folded import for_inference

#: Names of what varies, by axis.
_FOUND = {0: "batch", 1: "found"}


def whole_onnx(
    detector: DenseDetector,
    about: Mapping[str, str],
    size_hw: tuple[int, int] | None = None,
) -> bytes:
    """Return an ONNX model of standard operators that takes images and gives final boxes.

    It is not compared with torch here, see ``check_same``.

    Args:
        detector: stays as it is.
        about: what shall stand beside the graph.
        size_hw: height and width of the images that it takes; None: of any.

    Raises:
        UserError: if a package for it is missing, or ONNX has no counterpart of something in the
            detector.
    """
    check_packages()
    pipeline = Pipeline(for_inference(detector, channels_last=False).cpu(), unsuppressed_by_runtime)
    axes = {0: "batch"} if size_hw else {0: "batch", 2: "height", 3: "width"}
    exported = to_onnx(
        pipeline,
        (example_images(pipeline.detector, size_hw),),
        (INPUT,),
        OUTPUTS,
        (axes,),
        {torch.ops.fcos_lightning.unsuppressed.default: in_onnx},
    )
    exported.model.metadata_props.update(about)
    exported.model.producer_name = "fcos-lightning"
    name_axes(exported, dict.fromkeys(OUTPUTS, _FOUND) | {INPUT: axes})
    model: bytes = exported.model_proto.SerializeToString()
    return model


def example_images(detector: DenseDetector, size_hw: tuple[int, int] | None) -> torch.Tensor:
    """Return two images to trace with, whose sizes an exporter cannot take for a rule."""
    side = math.lcm(detector.size_multiple, *detector.strides)
    height, width = size_hw or (2 * side - 3, 3 * side - 5)
    generator = torch.Generator().manual_seed(0)
    shape = (2, 3, height, width)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def run_onnx(model: bytes) -> Run:
    """Return what runs such a model.

    Raises:
        UserError: if ONNX Runtime is not installed or cannot run it.
    """
    engine = OnnxEngine(model)

    def run(images: NDArray[np.uint8]) -> tuple[NDArray[np.generic], ...]:
        found = engine({INPUT: images})
        return tuple(found[name] for name in OUTPUTS)

    return run
