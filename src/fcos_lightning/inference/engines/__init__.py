"""Detectors that something else than torch computes: ONNX Runtime or OpenVINO."""
