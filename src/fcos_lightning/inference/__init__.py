"""A trained detector at work: from pictures of any kind to boxes in their pixels.

The names below are loaded on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fcos_lightning.inference.devices import chosen_device
    from fcos_lightning.inference.engines.onnx_export import export_onnx
    from fcos_lightning.inference.engines.onnx_runtime import OnnxDetector
    from fcos_lightning.inference.folded import for_inference
    from fcos_lightning.inference.predictor import Predictor

__all__ = ["OnnxDetector", "Predictor", "chosen_device", "export_onnx", "for_inference"]

_HOMES = {
    "OnnxDetector": "engines.onnx_runtime",
    "Predictor": "predictor",
    "chosen_device": "devices",
    "export_onnx": "engines.onnx_export",
    "for_inference": "folded",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
