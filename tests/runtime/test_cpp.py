"""The program in C++, built with the headers that OpenVINO's package brings."""

import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from PIL import Image
from tests.inference.deployed.detectors import lively, noise

from fcos_lightning.inference.deployed.about import about_file
from fcos_lightning.inference.deployed.onnx_file import whole_onnx
from fcos_lightning.inference.deployed.openvino_files import openvino_files

SOURCES = Path(__file__).resolve().parents[2] / "runtime/cpp"
SIZE = (97, 131)


def test_it_prints_what_torch_finds(tmp_path: Path) -> None:
    openvino = pytest.importorskip("openvino")
    if not (shutil.which("cmake") and shutil.which("c++")):
        pytest.skip("cmake or a C++ compiler is not installed")
    package = f"-DOpenVINO_DIR={openvino.__path__[0]}/cmake"
    for words in (["-S", str(SOURCES), "-B", "build", package], ["--build", "build"]):
        subprocess.run(["cmake", *words], cwd=tmp_path, check=True, capture_output=True)
    detector = lively("fcos")
    model = whole_onnx(detector, about_file(detector, {}, size_hw=SIZE), SIZE)
    for suffix, content in openvino_files(model).items():
        (tmp_path / f"model{suffix}").write_bytes(content)
    ((_, image),) = noise(SIZE)
    Image.fromarray(image).save(tmp_path / "picture.ppm")

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        program = [str(tmp_path / "build/detect"), *words]
        return subprocess.run(program, cwd=tmp_path, capture_output=True, text=True, timeout=120)

    done = run("model.xml", "picture.ppm")
    assert done.returncode == 0, done.stderr
    rows = [[float(word) for word in line.split()] for line in done.stdout.splitlines()]
    (wanted,) = detector.detect([torch.from_numpy(image.transpose(2, 0, 1).copy())])
    assert len(rows) == len(wanted) > 20
    assert [row[0] for row in rows] == wanted.labels.tolist()
    boxes = torch.tensor([row[2:] for row in rows])
    torch.testing.assert_close(boxes, wanted.boxes_xyxy, atol=0.01, rtol=0)
    (tmp_path / "broken.ppm").write_bytes(b"P6 20 20 255\nshort")
    for words in (("model.xml", "broken.ppm"), ("none.xml", "picture.ppm"), ()):
        done = run(*words)
        assert done.returncode == 2 and done.stderr.startswith("error: ") and not done.stdout
