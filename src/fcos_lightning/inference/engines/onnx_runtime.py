"""A detector whose dense prediction ONNX Runtime computes."""

from __future__ import annotations

from fcos_lightning.detector import DenseDetector
from fcos_lightning.inference.engines.dense import EngineDetector
from fcos_lightning.inference.engines.onnx_engine import OnnxEngine, onnx_session

__all__ = ["OnnxDetector", "onnx_session"]


class OnnxDetector(EngineDetector):
    """A detector whose forward pass an ONNX model does, see ``EngineDetector``.

    Args:
        detector: of which the model was made.
        model: as ``export_onnx`` gives it.

    Raises:
        UserError: if ONNX Runtime is not installed or cannot run the model.
    """

    def __init__(self, detector: DenseDetector, model: bytes) -> None:
        super().__init__(detector, OnnxEngine(model))
