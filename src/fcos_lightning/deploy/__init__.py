"""The detector outside of torch: as an ONNX model, and run by ONNX Runtime."""

from fcos_lightning.deploy.export import export_onnx
from fcos_lightning.deploy.runtime import OnnxDetector, check_packages

__all__ = ["OnnxDetector", "check_packages", "export_onnx"]
