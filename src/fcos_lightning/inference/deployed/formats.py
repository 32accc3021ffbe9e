"""The kinds of files for other programs, by the ends of their names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fcos_lightning.detector import DenseDetector
from fcos_lightning.inference.deployed.equality import Run
from fcos_lightning.inference.deployed.onnx_file import whole_onnx
from fcos_lightning.inference.deployed.sessions import run_onnx


@dataclass(frozen=True)
class Built:
    """A file that is not written yet.

    Attributes:
        files: what is to be written, by suffix.
        run: the same, ready to run.
    """

    files: Mapping[str, bytes]
    run: Run


def build_onnx(
    detector: DenseDetector, about: Mapping[str, str], size_hw: tuple[int, int] | None
) -> Built:
    """Return an ONNX model, see ``whole_onnx``."""
    model = whole_onnx(detector, about, size_hw)
    return Built({".onnx": model}, run_onnx(model))


FORMATS: dict[str, Callable[[DenseDetector, Mapping[str, str], tuple[int, int] | None], Built]] = {
    ".onnx": build_onnx
}
