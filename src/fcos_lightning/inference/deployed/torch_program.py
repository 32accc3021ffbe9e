"""A detector as a program of torch.export, which torch runs without this package."""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from fcos_lightning.detector import DenseDetector
from fcos_lightning.errors import UserError
from fcos_lightning.inference.deployed.equality import Run
from fcos_lightning.inference.deployed.onnx_file import example_images
from fcos_lightning.inference.deployed.pipeline import Pipeline
from fcos_lightning.inference.folded import for_inference
from fcos_lightning.printing import first_line

#: Of what stands beside the program.
ABOUT = "about.json"


def torch_program(
    detector: DenseDetector, about: Mapping[str, str], size_hw: tuple[int, int] | None = None
) -> bytes:
    """Return a program that takes images and gives final boxes, as ``torch.export.save`` writes it.

    NMS is torchvision's operation, so that whoever loads it imports torchvision first.

    Args:
        detector: stays as it is.
        about: what shall stand beside the program, in ``about.json``.
        size_hw: height and width of the images that it takes; None: of any.

    Raises:
        UserError: if torch cannot trace something in the detector.
    """
    pipeline = Pipeline(for_inference(detector, channels_last=False).cpu())
    any_size = torch.export.Dim.DYNAMIC
    axes = (0,) if size_hw else (0, 2, 3)
    content = io.BytesIO()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the exporter about its own parts
            program = torch.export.export(
                pipeline,
                (example_images(pipeline.detector, size_hw),),
                dynamic_shapes=(dict.fromkeys(axes, any_size),),
                strict=False,
            )
            torch.export.save(program, content, extra_files={ABOUT: json.dumps(dict(about))})
    except Exception as error:  # of any net's own code
        raise UserError(
            f"this detector cannot be exported by torch: {first_line(error)}"
        ) from error
    return content.getvalue()


def run_torch_program(content: bytes) -> Run:
    """Return what runs such a program."""
    program = torch.export.load(io.BytesIO(content)).module()

    def run(images: NDArray[np.uint8]) -> tuple[NDArray[np.generic], ...]:
        with torch.inference_mode():
            return tuple(output.numpy() for output in program(torch.from_numpy(images)))

    return run
