"""OpenVINO and programs of torch.export give the final boxes that torch gives."""

import io
import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.inference.deployed.detectors import METHODS, lively, noise

from fcos_lightning.inference.deployed.about import about_file
from fcos_lightning.inference.deployed.equality import check_same, detections_of
from fcos_lightning.inference.deployed.onnx_file import whole_onnx
from fcos_lightning.inference.deployed.openvino_files import openvino_files, run_openvino
from fcos_lightning.inference.deployed.torch_program import ABOUT, run_torch_program, torch_program

SIDES = {"shorter_side": 96, "longer_side": 160}
#: Sides longer than the coarsest stride.
SIZES = ((128, 160), (97, 131), (64, 256))


def check_openvino_files(method: str, size_hw: tuple[int, int] | None) -> None:
    pytest.importorskip("openvino")
    detector = lively(method)
    model = whole_onnx(detector, about_file(detector, SIDES, licence="MIT"), size_hw)
    files = openvino_files(model)
    run = run_openvino(files)
    same = check_same(detector, run, noise(*([size_hw] if size_hw else SIZES)))
    assert same.detections > 20 and same.box_px < 0.01 and same.score < 1e-5
    said = ET.fromstring(files[".xml"]).find("rt_info/framework")
    assert said is not None
    told = {child.tag: child.get("value") for child in said}
    assert told["license"] == "MIT" and json.loads(told["class_names"] or "")[1] == "dog"
    several = run(np.stack([image.transpose(2, 0, 1) for _, image in noise((97, 131), (97, 131))]))
    assert [len(one) > 0 for one in detections_of(several)] == [True, True]


def test_openvino_finds_the_same() -> None:
    check_openvino_files("fcos", (97, 131))


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_openvino_finds_the_same_at_any_size(method: str) -> None:
    check_openvino_files(method, None)


def test_a_program_runs_where_this_package_is_not(tmp_path: Path) -> None:
    detector = lively("fcos")
    content = torch_program(detector, about_file(detector, SIDES))
    same = check_same(detector, run_torch_program(content), noise(*SIZES))
    assert same.detections > 50 and same.box_px < 0.01 and same.score < 1e-5
    (_, picture), *_ = noise((97, 131))
    (tmp_path / "model.pt2").write_bytes(content)
    np.save(tmp_path / "picture.npy", picture.transpose(2, 0, 1)[None])
    program = """
import sys
sys.modules["fcos_lightning"] = None  # an import would fail
import numpy, torch, torchvision
about = {"about.json": ""}
program = torch.export.load("model.pt2", extra_files=about)
picture = torch.from_numpy(numpy.load("picture.npy"))
boxes, scores, labels = program.module()(picture)
torch.save((boxes, scores, labels, about), "found.pt")
"""
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True, timeout=120)
    *found, about = torch.load(tmp_path / "found.pt")
    (wanted,) = detector.detect([torch.from_numpy(picture.transpose(2, 0, 1).copy())])
    torch.testing.assert_close(found[0][0], wanted.boxes_xyxy, atol=0.01, rtol=0)
    torch.testing.assert_close(found[1][0], wanted.scores, atol=1e-5, rtol=0)
    assert json.loads(json.loads(about[ABOUT])["class_names"]) == ["cat", "dog", "cow"]


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_programs_of_every_method_find_the_same(method: str) -> None:
    detector = lively(method)
    content = torch_program(detector, about_file(detector, SIDES))
    assert torch.export.load(io.BytesIO(content)).range_constraints
    same = check_same(detector, run_torch_program(content), noise(*SIZES))
    assert same.detections > 50 and same.box_px < 0.01 and same.score < 1e-5
