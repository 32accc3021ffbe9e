"""A detector as an ONNX model: normalisation, backbone, FPN and head, for images of any size.

What the model gives is the dense prediction, a row for each point. Threshold, top-k and NMS stay
outside, so that whoever runs it decodes as ``fcos_lightning.detector.decode`` does.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from fcos_lightning.checkpoints import describe
from fcos_lightning.checkpoints.native import KEY
from fcos_lightning.detector import DenseDetector
from fcos_lightning.errors import UserError
from fcos_lightning.inference.engines.dense import INPUTS, parts_of
from fcos_lightning.inference.engines.onnx_engine import check_packages
from fcos_lightning.inference.engines.onnx_runtime import OnnxDetector
from fcos_lightning.inference.folded import for_inference
from fcos_lightning.printing import first_line
from fcos_lightning.structures import Images

#: The newest that every ONNX Runtime for Python 3.10 to 3.13 knows; DeformConv came with 19.
_OPSET = 20
#: By how much ONNX Runtime may differ from torch, absolutely and relatively: it sums in another
#: order, in some sixty layers.
_TOLERANCE = 1e-3
#: What may be of any size, under the names that the model shows; of outputs, ``_ROWS``.
_AXES = {"pixels": {0: "batch", 2: "height", 3: "width"}, "sizes_hw": {0: "batch"}}
_ROWS = {0: "batch", 1: "points"}


def export_onnx(detector: DenseDetector, **more: object) -> bytes:
    """Return the dense prediction of a detector as an ONNX model that computes the same.

    Args:
        detector: stays as it is.
        **more: plain values that the model's description shall carry beside the detector's own.

    Raises:
        UserError: if a package for it is missing, ONNX has no counterpart of something in the
            detector, or ONNX Runtime cannot run it or computes something else.
    """
    check_packages()
    folded = for_inference(detector, channels_last=False).cpu()
    # No level of the example has a side of one cell, which would be taken for a rule.
    side = math.lcm(folded.size_multiple, *folded.strides)
    example = _noise(2, 2 * side, 3 * side)
    with torch.inference_mode():
        outputs = list(parts_of(folded(Images(*example))))
    exported = to_onnx(_Dense(folded), example, INPUTS, outputs, (_AXES[name] for name in INPUTS))
    exported.model.metadata_props[KEY] = json.dumps(describe(detector, **more))
    name_axes(exported, dict.fromkeys(outputs, _ROWS) | _AXES)
    model: bytes = exported.model_proto.SerializeToString()
    _compare(model, folded)
    return model


def to_onnx(
    module: nn.Module,
    example: tuple[Tensor, ...],
    inputs: Sequence[str],
    outputs: Sequence[str],
    axes: Iterable[Collection[int]],
    translations: Mapping[Callable[..., Any], Callable[..., Any]] | None = None,
) -> Any:  # noqa: ANN401  # a torch.onnx.ONNXProgram, which torch does not always give
    """Return a module in standard operators of one opset.

    Args:
        module: in evaluation mode, on the processor.
        example: what it takes.
        inputs: their names.
        outputs: names of what it gives.
        axes: of each input, those that may be of any size.
        translations: what ONNX calls operations of one's own.

    Raises:
        UserError: if ONNX has no counterpart of something in it.
    """
    any_size = torch.export.Dim.DYNAMIC
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the exporter about its own parts
            program = torch.export.export(
                module,
                example,
                dynamic_shapes=tuple(dict.fromkeys(of_one, any_size) for of_one in axes),
                strict=False,
            )
            exported = torch.onnx.export(
                program,
                dynamo=True,
                opset_version=_OPSET,
                input_names=inputs,
                output_names=outputs,
                custom_translation_table={**_translations(), **(translations or {})},
                verbose=False,
            )
    except Exception as error:  # of any net's own code
        raise UserError(f"this detector cannot be exported to ONNX: {first_line(error)}") from error
    assert exported is not None
    return exported


def name_axes(exported: Any, names: Mapping[str, Mapping[int, str]]) -> None:  # noqa: ANN401
    """Let inputs and outputs show under which names their sizes vary.

    Args:
        exported: of ``to_onnx``.
        names: of inputs and outputs -> axis -> what it is called.
    """
    for value in (*exported.model.graph.inputs, *exported.model.graph.outputs):
        for axis, name in names[str(value.name)].items():
            value.shape[axis] = name


class _Dense(nn.Module):
    """Tensors in, tensors out."""

    def __init__(self, detector: DenseDetector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, pixels: Tensor, sizes_hw: Tensor) -> tuple[Tensor, ...]:
        return tuple(parts_of(self.detector(Images(pixels, sizes_hw))).values())


def _noise(count: int, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Padded images, of which the last has another size, and their sizes."""
    generator = torch.Generator().manual_seed(0)
    size = (count, 3, height, width)
    pixels = torch.randint(0, 256, size, dtype=torch.uint8, generator=generator)
    sizes_hw = torch.tensor([[height, width]] * (count - 1) + [[height - 7, width - 9]])
    return pixels, sizes_hw


def _translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """What ONNX calls operations that torch's exporter does not know."""
    from onnxscript import opset20

    def deformable(x: Any, weight: Any, offset: Any, mask: Any, bias: Any, *options: int) -> Any:  # noqa: ANN401  # symbolic values of the exporter
        down, right, top, left, apart_y, apart_x, groups, offset_groups, _ = options
        return opset20.DeformConv(
            x,
            weight,
            offset,
            bias,
            mask,
            strides=[down, right],
            pads=[top, left, top, left],
            dilations=[apart_y, apart_x],
            group=groups,
            offset_group=offset_groups,
        )

    return {torch.ops.torchvision.deform_conv2d.default: deformable}


def _compare(model: bytes, detector: DenseDetector) -> None:
    """Refuse a model that does not compute what the detector does, at a size of its own."""
    side = detector.size_multiple
    images = Images(*_noise(1, side, 3 * side))
    with torch.inference_mode():
        ours, theirs = parts_of(detector(images)), parts_of(OnnxDetector(detector, model)(images))
    for name, expected in ours.items():
        found = theirs[name]
        if not torch.allclose(found, expected, rtol=_TOLERANCE, atol=_TOLERANCE, equal_nan=True):
            off = float((found - expected).abs().max())
            raise UserError(
                f"exported to ONNX, this detector's {name} are off by {off:.1e}, so nothing is "
                "written; fcos-test and fcos-predict run it in torch"
            )
