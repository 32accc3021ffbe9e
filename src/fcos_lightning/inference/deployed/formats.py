"""The kinds of files for other programs, by the ends of their names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from fcos_lightning.detector import DenseDetector
from fcos_lightning.inference.deployed.equality import Run
from fcos_lightning.inference.deployed.onnx_file import run_onnx, whole_onnx
from fcos_lightning.inference.deployed.openvino_files import openvino_files, run_openvino
from fcos_lightning.inference.deployed.smaller import in_float16
from fcos_lightning.inference.deployed.torch_program import run_torch_program, torch_program
from fcos_lightning.inference.engines.openvino_engine import check_openvino

Size: TypeAlias = tuple[int, int] | None


@dataclass(frozen=True)
class Built:
    """A file, or a pair of them, that is not written yet.

    Attributes:
        files: what is to be written, by suffix.
        run: the same, ready to run.
    """

    files: Mapping[str, bytes]
    run: Run


def build_onnx(detector: DenseDetector, about: Mapping[str, str], size_hw: Size) -> Built:
    """Return an ONNX model, see ``whole_onnx``."""
    return as_onnx(whole_onnx(detector, about, size_hw))


def as_onnx(model: bytes, half: bool = False) -> Built:
    """Return what stands for an ONNX model.

    Args:
        model: that takes images and gives boxes.
        half: let it compute in float16.
    """
    model = in_float16(model) if half else model
    return Built({".onnx": model}, run_onnx(model))


def build_openvino(detector: DenseDetector, about: Mapping[str, str], size_hw: Size) -> Built:
    """Return OpenVINO's pair of files, see ``openvino_files``."""
    check_openvino()
    return as_openvino(whole_onnx(detector, about, size_hw))


def as_openvino(model: bytes, half: bool = False) -> Built:
    """Return OpenVINO's pair of files for an ONNX model.

    Args:
        model: that takes images and gives boxes.
        half: keep weights in float16.
    """
    files = openvino_files(model, half)
    return Built(files, run_openvino(files))


def build_program(detector: DenseDetector, about: Mapping[str, str], size_hw: Size) -> Built:
    """Return a program of torch.export, see ``torch_program``."""
    program = torch_program(detector, about, size_hw)
    return Built({".pt2": program}, run_torch_program(program))


FORMATS: dict[str, Callable[[DenseDetector, Mapping[str, str], Size], Built]] = {
    ".onnx": build_onnx,
    ".xml": build_openvino,
    ".pt2": build_program,
}

#: Those that an ONNX model of fewer bits can become.
SMALLER: dict[str, Callable[[bytes, bool], Built]] = {".onnx": as_onnx, ".xml": as_openvino}
