"""An ONNX model gives the final boxes that torch gives, for every method."""

import json

import numpy as np
import onnx
import pytest
import torch
from tests.inference.deployed.detectors import METHODS, lively, noise
from tests.inference.onnx_shapes import shapes_of

from fcos_lightning.detector import DenseDetector
from fcos_lightning.inference.deployed.about import about_file
from fcos_lightning.inference.deployed.equality import check_same
from fcos_lightning.inference.deployed.onnx_file import run_onnx, whole_onnx

#: Multiples of the stride, none, less than one cell of the coarsest level, wide and high.
SIZES = ((128, 160), (97, 131), (64, 33), (7, 200), (1, 1), (256, 320))
#: Methods whose graphs differ: the others train otherwise, and are these when they run.
GRAPHS = ("centernet", "densebox", "fcos", "fcos_plain", "foveabox", "gfl", "retinanet", "ssd")
SIDES = {"shorter_side": 96, "longer_side": 160}


def exported(detector: DenseDetector, size_hw: tuple[int, int] | None = None) -> bytes:
    return whole_onnx(detector, about_file(detector, SIDES, size_hw=size_hw), size_hw)


def check_any_size(detector: DenseDetector) -> bytes:
    model = exported(detector)
    same = check_same(detector, run_onnx(model), noise(*SIZES))
    assert same.images == len(SIZES) and same.detections > 50
    assert same.box_px < 0.01 and same.score < 1e-5
    return model


@pytest.mark.parametrize("method", GRAPHS)
def test_every_graph_finds_the_same_at_one_size(method: str) -> None:
    detector = lively(method)
    model = exported(detector, (97, 131))
    same = check_same(detector, run_onnx(model), noise((97, 131), (97, 131)))
    assert same.images == 2 and same.detections > 20
    assert same.box_px < 0.01 and same.score < 1e-5


def test_no_method_has_a_graph_that_is_not_looked_at() -> None:
    def graph(method: str) -> tuple[str, str, int]:
        detector = lively(method)
        distances = str(getattr(detector.head.options, "distances", ""))
        return (
            type(detector.head).__name__,
            detector.decoder.name + distances,
            detector.grid.per_cell,
        )

    assert {graph(method) for method in METHODS} == {graph(method) for method in GRAPHS}


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_every_method_finds_the_same_at_any_size(method: str) -> None:
    check_any_size(lively(method))


def test_a_model_of_any_size_says_what_it_takes_and_gives_and_is() -> None:
    detector = lively("fcos")
    model = onnx.load_from_string(check_any_size(detector))
    onnx.checker.check_model(model, full_check=True)
    assert shapes_of(model) == {
        "images": ["batch", 3, "height", "width"],
        "boxes": ["batch", "found", 4],
        "scores": ["batch", "found"],
        "labels": ["batch", "found"],
    }
    (opset,) = {one.domain or "ai.onnx": one.version for one in model.opset_import}.items()
    assert opset == ("ai.onnx", 20)  # nothing but the standard's operators
    assert not model.functions
    said = {prop.key: prop.value for prop in model.metadata_props}
    assert json.loads(said["class_names"]) == ["cat", "dog", "cow"]
    assert json.loads(said["decoder"])["score_threshold"] == detector.decoder.score_threshold
    assert json.loads(said["size"]) == {**SIDES, "height_width": None}
    assert json.loads(said["fcos"])["spec"] == detector.spec
    assert said["version"].startswith("fcos-lightning ") and said["license"] == "not stated"


def test_images_of_a_batch_keep_their_own_detections() -> None:
    (tenth,) = (
        lively("fcos").detect([torch.from_numpy(image.transpose(2, 0, 1).copy())])[0].scores[10]
        for _, image in noise((97, 131))
    )
    detector = lively("fcos", threshold_on="score", score_threshold=float(tenth))
    run = run_onnx(exported(detector, (97, 131)))
    pictures = [image.transpose(2, 0, 1) for _, image in noise((97, 131), (97, 131))]
    pictures.insert(1, np.full_like(pictures[0], 120))
    boxes, scores, labels = run(np.stack(pictures))
    counts = (labels >= 0).sum(axis=1)
    assert counts.max() == labels.shape[1] and counts.min() < counts.max()
    assert not boxes[labels < 0].any() and not scores[labels < 0].any()
    for row, picture in enumerate(pictures):
        alone = run(np.ascontiguousarray(picture[None]))
        assert len(alone[2][0]) == counts[row]
        for one, many in zip(alone, (boxes, scores, labels), strict=True):
            np.testing.assert_allclose(many[row, : counts[row]], one[0], atol=1e-4)
