"""A detector as OpenVINO's pair of files: the graph as .xml, its weights as .bin."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fcos_lightning.errors import UserError
from fcos_lightning.inference.deployed.about import INPUT, OUTPUTS
from fcos_lightning.inference.deployed.equality import Run
from fcos_lightning.inference.engines.openvino_engine import (
    OpenVinoEngine,
    check_openvino,
    openvino_core,
)
from fcos_lightning.printing import first_line


def openvino_files(onnx_model: bytes, half: bool = False) -> dict[str, bytes]:
    """Return what OpenVINO makes of an ONNX model, by suffix: ``.bin`` and ``.xml``.

    What stands beside the ONNX graph is found in the .xml, under ``rt_info/framework``.

    Args:
        onnx_model: that takes images and gives boxes.
        half: keep weights in float16.

    Raises:
        UserError: if OpenVINO is not installed or cannot read the model.
    """
    check_openvino()
    import openvino

    try:
        model = openvino_core().read_model(onnx_model)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "model.xml"
            openvino.save_model(model, file, compress_to_fp16=half)
            # The graph comes last: who finds it finds its weights.
            return {suffix: file.with_suffix(suffix).read_bytes() for suffix in (".bin", ".xml")}
    except (RuntimeError, OSError) as error:
        raise UserError(
            f"openvino {openvino.__version__} cannot read this detector: {first_line(error)}"
        ) from error


def run_openvino(files: dict[str, bytes]) -> Run:
    """Return what runs such a pair, on the processor.

    Raises:
        UserError: if OpenVINO is not installed or cannot run it.
    """
    engine = OpenVinoEngine(files[".xml"], files[".bin"])

    def run(images: NDArray[np.uint8]) -> tuple[NDArray[np.generic], ...]:
        found = engine({INPUT: images})
        return tuple(found[name] for name in OUTPUTS)

    return run
