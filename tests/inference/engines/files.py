"""Converted files of a small detector, and models of a few nodes that pretend to be such."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from fcos_lightning.checkpoints import Checkpoint
from fcos_lightning.inference.deployed.about import about_file
from fcos_lightning.inference.deployed.onnx_file import whole_onnx

#: What a file says that lies about nothing.
SAID = {
    "fcos": json.dumps({"spec": {"num_classes": 2}}),
    "class_names": '["cat", "dog"]',
    "category_ids": "[7, 90]",
    "size": '{"shorter_side": 64, "longer_side": 96, "height_width": null}',
    "decoder": '{"nms_iou": 0.6, "max_detections": 20, "score_threshold": 0.05}',
    "version": "fcos-lightning 0.1.0",
    "license": "MIT",
    "precision": "fp32",
}


def converted(checkpoint: Path, file: Path, size_hw: tuple[int, int] | None = None) -> Path:
    """What ``fcos-convert`` writes, without the comparison."""
    read = Checkpoint.read(checkpoint)
    sides = {key: read.about.get(key) for key in ("shorter_side", "longer_side")}
    detector = read.detector()
    about = about_file(detector, sides, licence="MIT", size_hw=size_hw)
    file.write_bytes(whole_onnx(detector, about, size_hw))
    return file


def pretending(
    *more: NodeProto,
    boxes: object = ((1, 2, 3, 4),),
    scores: object = (0.5,),
    labels: object = (1,),
    **said: str,
) -> ModelProto:
    """A model that finds the same in each image, whatever is in it."""
    given = {
        "boxes": np.array([boxes], dtype=np.float32),
        "scores": np.array([scores], dtype=np.float32),
        "labels": np.array([labels], dtype=np.int64),
    }
    kinds = {"boxes": TensorProto.FLOAT, "scores": TensorProto.FLOAT, "labels": TensorProto.INT64}
    nodes = [helper.make_node("Identity", [f"all_{name}"], [name]) for name in given]
    pixels = helper.make_tensor_value_info("images", TensorProto.UINT8, ["b", 3, "h", "w"])
    graph = helper.make_graph(
        [*nodes, *more],
        "pretending",
        [pixels],
        [helper.make_tensor_value_info(name, kind, None) for name, kind in kinds.items()],
        [numpy_helper.from_array(value, f"all_{name}") for name, value in given.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=8)
    helper.set_model_props(model, {**SAID, **said})
    return model
