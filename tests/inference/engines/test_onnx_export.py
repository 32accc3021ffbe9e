"""ONNX Runtime's answers against torch's."""

import json
import re
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import pytest
import torch
from PIL import Image
from tests.inference.onnx_shapes import shapes_of
from torch import Tensor, nn

from fcos_lightning.detector import FCOS, build_fcos
from fcos_lightning.errors import UserError
from fcos_lightning.inference import OnnxDetector, Predictor, export_onnx
from fcos_lightning.inference.engines import onnx_export as export

SIZES = ((40, 90), (64, 33), (1, 1))


def small(**options: Any) -> FCOS:
    """A detector that finds something in noise."""
    torch.manual_seed(0)
    chosen: dict[str, Any] = {
        "num_classes": 3,
        "class_names": ["cat", "dog", "cow"],
        "backbone": {"name": "tiny", "norm": "trained", "widths": [8, 8, 16, 16]},
        "fpn": {"channels": 64, "levels": [4, 5, 6]},
        "head": {"num_convs": 1, "prior": 0.1},
        "input": {"channel_order": "bgr"},
        **options,
    }
    detector = build_fcos(**chosen)
    with torch.no_grad():
        detector.head.cls_logits.weight.normal_(std=0.1)
        detector.head.box_ltrb.bias.fill_(1.0)
    return detector.eval()


def noise(*sizes: tuple[int, int]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randint(0, 256, (3, *size), dtype=torch.uint8, generator=generator) for size in sizes
    ]


@pytest.fixture(scope="module")
def exported() -> tuple[FCOS, bytes]:
    detector = small()
    return detector, export_onnx(detector, shorter_side=96, longer_side=160)


def test_the_model_says_what_it_takes_and_gives(exported: tuple[FCOS, bytes]) -> None:
    detector, content = exported
    model = onnx.load_from_string(content)
    onnx.checker.check_model(model, full_check=True)
    assert shapes_of(model) == {
        "pixels": ["batch", 3, "height", "width"],
        "sizes_hw": ["batch", 2],
        "cls_logits": ["batch", "points", 3],
        "ltrb_px": ["batch", "points", 4],
        "quality_logits": ["batch", "points"],
    }
    (described,) = (json.loads(prop.value) for prop in model.metadata_props if prop.key == "fcos")
    assert described["spec"] == detector.spec and described["shorter_side"] == 96


def test_any_sizes_give_the_same_numbers(exported: tuple[FCOS, bytes]) -> None:
    detector, content = exported
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    for sizes in (SIZES, ((200, 330),), ((64, 64), (64, 64))):
        batch = detector.collate(noise(*sizes))
        given = {"pixels": batch.pixels.numpy(), "sizes_hw": batch.sizes_hw.numpy()}
        with torch.inference_mode():
            expected = detector(batch)
        names = [output.name for output in session.get_outputs()]
        assert names == ["cls_logits", "ltrb_px", "quality_logits"]
        for name, found in zip(names, session.run(names, given), strict=True):
            ours = getattr(expected, name)
            torch.testing.assert_close(torch.from_numpy(found), ours, atol=1e-3, rtol=1e-4)


def test_detections_are_the_same(exported: tuple[FCOS, bytes]) -> None:
    detector, content = exported
    images = noise(*SIZES)
    there = OnnxDetector(detector, content)
    assert there.class_names == ("cat", "dog", "cow")
    for got, wanted in zip(there.detect(images), detector.detect(images), strict=True):
        assert len(wanted) > 0 and torch.equal(got.labels, wanted.labels)
        torch.testing.assert_close(got.boxes_xyxy, wanted.boxes_xyxy, atol=1e-3, rtol=1e-4)
        torch.testing.assert_close(got.scores, wanted.scores, atol=1e-5, rtol=1e-4)


def test_the_program_of_the_documentation_finds_the_same(
    exported: tuple[FCOS, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector, content = exported
    page = (Path(__file__).resolve().parents[3] / "docs/deployment.md").read_text(encoding="utf-8")
    _, program = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert "strides = (8, 16, 32, 64, 128)" in program
    monkeypatch.chdir(tmp_path)
    (image,) = noise((50, 90))
    Image.fromarray(image.permute(1, 2, 0).numpy()).save("photo.png")
    Path("model.onnx").write_bytes(content)
    names: dict[str, Any] = {}
    exec(program.replace("(8, 16, 32, 64, 128)", "(16, 32, 64)"), names)
    wanted = Predictor(detector, 96, 160, device="cpu")("photo.png")
    assert len(wanted) > 0 and torch.equal(names["found"].labels, wanted.labels)
    torch.testing.assert_close(names["found"].boxes_xyxy, wanted.boxes_xyxy, atol=1e-3, rtol=1e-4)


def test_a_model_that_computes_something_else_is_refused(exported: tuple[FCOS, bytes]) -> None:
    detector, content = exported
    other = small()
    with torch.no_grad():
        other.head.quality_logits.bias.add_(0.01)
    with pytest.raises(UserError, match=r"this detector's quality_logits are off by 1\.0e-02"):
        export._compare(content, other)
    export._compare(content, detector)


def test_no_model_at_all_is_one_line(exported: tuple[FCOS, bytes]) -> None:
    with pytest.raises(UserError, match=r"onnxruntime [\d.]+ cannot run this detector: [^\n]+$"):
        OnnxDetector(exported[0], b"no model")


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"backbone": {"name": "resnet50"}},
        {"backbone": {"name": "resnext101_32x8d"}},
        {"backbone": {"name": "mobilenet_v2"}, "head": {"distances": "exp", "prior": 0.1}},
        {"backbone": {"name": "timm/dla34"}, "head": {"shared_convs": 4, "num_convs": 0}},
        {"head": {"norm": "batch", "quality_on": "none"}},
    ],
    ids=str,
)
def test_every_kind_of_net_is_the_same(options: dict[str, Any]) -> None:
    detector = small(fpn=None, **options)
    images = noise((130, 300), (200, 100))
    prediction = OnnxDetector(detector, export_onnx(detector)).predict(images)
    ours = detector.predict(images)
    for field in fields(ours):
        expected = getattr(ours, field.name)
        found = getattr(prediction, field.name)
        if expected is None:
            assert found is None
        else:
            torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-4)


class Undecided(nn.Module):
    """Its steps depend on what it sees."""

    channels, strides = (4,), (32,)

    def forward(self, images: Tensor) -> list[Tensor]:
        pooled = nn.functional.avg_pool2d(images, 32).repeat(1, 2, 1, 1)[:, :4]
        return [pooled if images.sum() > 0 else -pooled]


def test_deformable_convolutions_need_a_newer_onnx_runtime() -> None:
    """Exporting compares with torch, so what comes back computes the same."""
    detector = small(fpn={"channels": 8, "levels": [5]}, head={"num_convs": 1, "deformable": True})
    with torch.no_grad():
        detector.head.cls_tower[0].offset.weight.normal_(std=0.1)
    if [int(part) for part in onnxruntime.__version__.split(".")[:2]] < [1, 25]:
        with pytest.raises(UserError, match=r"cannot run this detector: .*DeformConv"):
            export_onnx(detector)
        return
    model = onnx.load_from_string(export_onnx(detector))
    assert [node.op_type for node in model.graph.node].count("DeformConv") == 2


def test_what_cannot_be_exported_is_one_line() -> None:
    detector = small(backbone=Undecided(), fpn={"channels": 8, "levels": [5]})
    with pytest.raises(UserError, match=r"^this detector cannot be exported to ONNX: [^\n]+$"):
        export_onnx(detector)


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("onnxscript", "onnxruntime"):
        monkeypatch.setitem(sys.modules, name, None)
    said = r"ONNX needs onnxscript and onnxruntime, .* pip install 'onnx"
    with pytest.raises(UserError, match=said):
        export_onnx(small())
