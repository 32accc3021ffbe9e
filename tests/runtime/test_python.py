"""The examples of ``runtime/python`` where neither torch nor this package is."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from tests.inference.deployed.detectors import lively, noise

from fcos_lightning.inference import Predictor
from fcos_lightning.inference.deployed.about import about_file
from fcos_lightning.inference.deployed.onnx_file import whole_onnx

EXAMPLE = Path(__file__).resolve().parents[2] / "runtime/python/detect.py"
SIDES = {"shorter_side": 96, "longer_side": 160}

WITHOUT = """
import runpy, sys
for name in ("torch", "torchvision", "cv2", "fcos_lightning"):
    sys.modules[name] = None  # an import would fail
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def printed(model: Path, photo: Path) -> list[list[str]]:
    words = [sys.executable, "-c", WITHOUT, str(EXAMPLE), str(model), str(photo)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=True)
    return [line.split() for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("model") / "model.onnx"
    detector = lively("fcos")
    file.write_bytes(whole_onnx(detector, about_file(detector, SIDES)))
    return file


def test_it_prints_what_the_predictor_finds(model: Path, tmp_path: Path) -> None:
    assert len(EXAMPLE.read_text().splitlines()) < 50
    # As large as it is seen: nothing is resized, so that the boxes are the same.
    ((_, image),) = noise((96, 144))
    Image.fromarray(image).save(tmp_path / "photo.png")
    wanted = Predictor(lively("fcos"), 96, 160, device="cpu")(tmp_path / "photo.png")
    found = printed(model, tmp_path / "photo.png")
    assert [row[0] for row in found] == list(wanted.names or ()) and len(found) > 20
    boxes = torch.tensor([[float(side) for side in row[2:]] for row in found])
    torch.testing.assert_close(boxes, wanted.boxes_xyxy, atol=0.02, rtol=0)


def test_a_photo_is_turned_and_resized(model: Path, tmp_path: Path) -> None:
    ((_, image),) = noise((144, 96))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned to the right
    large = Image.fromarray(image).resize((192, 288), Image.Resampling.NEAREST)
    large.save(tmp_path / "photo.png", exif=exif)
    wanted = Predictor(lively("fcos"), 96, 160, device="cpu")(tmp_path / "photo.png")
    found = printed(model, tmp_path / "photo.png")
    assert abs(len(found) - len(wanted)) <= 2
    first = torch.tensor([float(side) for side in found[0][2:]])
    torch.testing.assert_close(first, wanted.boxes_xyxy[0], atol=1.0, rtol=0)
    assert json.dumps(found[0][0]).strip('"') == (wanted.names or ("",))[0]
