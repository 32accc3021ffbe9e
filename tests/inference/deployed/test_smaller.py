"""Models in fewer bits: what is touched, what is not, and which layer is to blame."""

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper
from tests.inference.deployed.detectors import lively, noise

from fcos_lightning.errors import UserError
from fcos_lightning.inference.deployed.about import about_file
from fcos_lightning.inference.deployed.equality import detections_of
from fcos_lightning.inference.deployed.onnx_file import run_onnx, whole_onnx
from fcos_lightning.inference.deployed.smaller import in_float16, in_int8, layers_to_blame

SIZE = (97, 131)
SIDES = {"shorter_side": 96, "longer_side": 160}
IMAGES: list[NDArray[np.uint8]] = [
    np.ascontiguousarray(image.transpose(2, 0, 1))[None] for _, image in noise(*[SIZE] * 4)
]


@pytest.fixture(scope="module")
def model() -> bytes:
    detector = lively("fcos")
    return whole_onnx(detector, about_file(detector, SIDES, size_hw=SIZE), SIZE)


@pytest.fixture(scope="module")
def smaller(model: bytes) -> dict[str, bytes]:
    return {"fp16": in_float16(model), "int8": in_int8(model, IMAGES)}


@pytest.mark.parametrize(("precision", "px"), [("fp16", 0.2), ("int8", 5.0)])
def test_it_finds_nearly_the_same_in_less_room(
    precision: str, px: float, model: bytes, smaller: dict[str, bytes]
) -> None:
    assert len(smaller[precision]) < len(model)
    (wanted,), (found,) = (
        detections_of(run_onnx(one)(IMAGES[0])) for one in (model, smaller[precision])
    )
    assert abs(len(found) - len(wanted)) <= 0.2 * len(wanted) and len(wanted) > 20
    best = wanted.boxes_xyxy[0]
    same = found.labels == wanted.labels[0]
    assert (found.boxes_xyxy[same] - best).abs().amax(dim=1).min() < px
    kept, before = (
        {prop.key: prop.value for prop in onnx.load_from_string(one).metadata_props}
        for one in (smaller[precision], model)
    )
    assert kept == before


def test_only_the_net_is_touched(smaller: dict[str, bytes]) -> None:
    integers = onnx.load_from_string(smaller["int8"]).graph
    producers = {name: node for node in integers.node for name in node.output}
    convolutions = [node for node in integers.node if node.op_type == "Conv"]
    by_integers = [
        node
        for node in convolutions
        if node.input[0] in producers and producers[node.input[0]].op_type == "DequantizeLinear"
    ]
    # Of three levels each, class, box and quality are said in float32.
    assert len(convolutions) - len(by_integers) == 9 and len(by_integers) >= 10
    halves = onnx.load_from_string(smaller["fp16"]).graph
    kept = {tensor.name for tensor in halves.initializer}
    weights = [node.input[1] for node in halves.node if node.op_type == "Conv"]
    # Weights are kept in float16; those of the last convolutions are made float32 before they work.
    assert sum(weight not in kept for weight in weights) == 9 and len(weights) > 20
    producers = {name: node for node in halves.node for name in node.output}
    (suppression,) = (node for node in halves.node if node.op_type == "NonMaxSuppression")
    assert all(
        name not in producers or not name.endswith("_cast_to_fp16") for name in suppression.input
    )


def test_the_layer_that_was_damaged_is_to_blame(model: bytes) -> None:
    damaged = onnx.load_from_string(model)
    node = next(
        one
        for one in damaged.graph.node
        if one.op_type == "Conv"
        and any("head.box_tower.0" in prop.value for prop in one.metadata_props)
    )
    weight = next(one for one in damaged.graph.initializer if one.name == node.input[1])
    weight.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(weight), weight.name))
    blamed = layers_to_blame(model, damaged.SerializeToString(), IMAGES[:2])
    assert blamed[0][0].startswith("head.box_tower") and blamed[0][1] > 1
    assert all(layer.startswith(("head.box", "head.quality")) for layer, share in blamed if share)
    assert len({layer for layer, _ in blamed}) == len(blamed) == 5


def test_what_cannot_be_quantised_is_one_line() -> None:
    with pytest.raises(UserError, match=r"^precision=int8: it cannot be quantised: [^\n]+$"):
        in_int8(onnx.ModelProto().SerializeToString(), [])
