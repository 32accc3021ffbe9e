"""Files for other programs, ready to run here."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fcos_lightning.inference.deployed.about import INPUT, OUTPUTS
from fcos_lightning.inference.deployed.equality import Run
from fcos_lightning.inference.onnx_runtime import onnx_session


def run_onnx(model: bytes) -> Run:
    """Return what runs an ONNX model that takes images and gives boxes.

    Raises:
        UserError: if ONNX Runtime is not installed or cannot run it.
    """
    session = onnx_session(model)

    def run(images: NDArray[np.uint8]) -> tuple[NDArray[np.generic], ...]:
        return tuple(session.run(list(OUTPUTS), {INPUT: images}))

    return run
