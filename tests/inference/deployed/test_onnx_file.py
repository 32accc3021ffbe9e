"""An ONNX model gives the final boxes that torch gives, for every method."""

import pytest
from tests.inference.deployed.detectors import METHODS, lively, noise

from fcos_lightning.detector import DenseDetector
from fcos_lightning.inference.deployed.about import about_file
from fcos_lightning.inference.deployed.equality import check_same
from fcos_lightning.inference.deployed.onnx_file import whole_onnx
from fcos_lightning.inference.deployed.sessions import run_onnx

#: Multiples of the stride, none, less than one cell of the coarsest level, wide and high.
SIZES = ((128, 160), (97, 131), (64, 33), (7, 200), (1, 1), (256, 320))
SIDES = {"shorter_side": 96, "longer_side": 160}


def exported(detector: DenseDetector, size_hw: tuple[int, int] | None = None) -> bytes:
    return whole_onnx(detector, about_file(detector, SIDES), size_hw)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_finds_the_same(method: str) -> None:
    detector = lively(method)
    same = check_same(detector, run_onnx(exported(detector)), noise(*SIZES))
    assert same.images == len(SIZES) and same.detections > 50
    assert same.box_px < 0.01 and same.score < 1e-5
