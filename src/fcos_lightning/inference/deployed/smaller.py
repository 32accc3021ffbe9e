"""ONNX models in fewer bits: float16, or integers of 8 bits.

Only the net is touched, which is what leads to a convolution. What makes boxes of its answers stays
float32: in float16 a coordinate of 1,000 px is rounded to whole pixels.
"""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fcos_lightning.errors import UserError
from fcos_lightning.inference.deployed.about import INPUT
from fcos_lightning.inference.engines.onnx_engine import onnx_session
from fcos_lightning.printing import first_line

#: Of a node's metadata: the modules that it lies in, outermost first, as Python writes a list.
_SCOPES = "pkg.torch.onnx.name_scopes"


def in_float16(model: bytes) -> bytes:
    """Return a model whose net computes in float16, but the last convolutions.

    Args:
        model: that takes images and gives boxes.

    Raises:
        UserError: if it cannot be converted.
    """
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    read = onnx.load_from_string(model)
    net, last = _parts(read)
    # The last convolutions cost little, and say where sides are, to a fraction of a pixel.
    rest = [node.name for node in read.graph.node if node.name not in net - last]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of numbers that become 0
            smaller = convert_float_to_float16(read, keep_io_types=True, node_block_list=rest)
    except Exception as error:  # of no kind that it promises
        raise UserError(f"precision=fp16: it cannot be converted: {first_line(error)}") from error
    content: bytes = smaller.SerializeToString()
    return content


def in_int8(model: bytes, images: Iterable[NDArray[np.uint8]]) -> bytes:
    """Return a model whose convolutions compute with integers, but the last ones.

    Quantised by ONNX Runtime, with its pairs of QuantizeLinear and DequantizeLinear: activations
    unsigned, weights signed with a scale for each channel.

    Args:
        model: that takes images and gives boxes.
        images: ``[1, 3, H, W]`` each, whose activations say how large they become.

    Raises:
        UserError: if it cannot be quantised.
    """
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    read = onnx.load_from_string(model)
    _, last = _parts(read)
    about = {prop.key: prop.value for prop in read.metadata_props}
    try:
        with tempfile.TemporaryDirectory() as folder, _without_advice():
            file = Path(folder) / "int8.onnx"
            quantize_static(
                read,
                str(file),
                _Reader(images),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=["Conv"],
                nodes_to_exclude=sorted(last),
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
            )
            quantised = onnx.load(str(file))
    except UserError:
        raise
    except Exception as error:  # of no kind that it promises
        raise UserError(f"precision=int8: it cannot be quantised: {first_line(error)}") from error
    onnx.helper.set_model_props(quantised, about)
    content: bytes = quantised.SerializeToString()
    return content


def layers_to_blame(
    model: bytes, smaller: bytes, images: Iterable[NDArray[np.uint8]], number: int = 5
) -> list[tuple[str, float]]:
    """Return the convolutions whose answers differ most, and by how much of their own size.

    Args:
        model: in float32.
        smaller: the same in fewer bits.
        images: ``[1, 3, H, W]`` each.
        number: how many to name.
    """
    import onnx

    first = onnx.load_from_string(model)
    names = {node.output[0]: _layer(node) for node in first.graph.node if node.op_type == "Conv"}
    sessions = [
        onnx_session(_showing(onnx.load_from_string(one), names)) for one in (model, smaller)
    ]
    squares = np.zeros((2, len(names)))
    for image in images:
        exact, found = (session.run(list(names), {INPUT: image}) for session in sessions)
        for place, (ours, theirs) in enumerate(zip(exact, found, strict=True)):
            off = theirs.astype(np.float64) - ours
            squares[:, place] += np.square(off).sum(), np.square(ours.astype(np.float64)).sum()
    shares: dict[str, float] = {}  # a head looks at several levels with the same layer
    for layer, share in zip(
        names.values(), np.sqrt(squares[0] / np.maximum(squares[1], 1e-30)), strict=True
    ):
        shares[layer] = max(shares.get(layer, 0.0), float(share))
    return sorted(shares.items(), key=lambda one: -one[1])[:number]


@contextmanager
def _without_advice() -> Iterator[None]:
    """Keep ONNX Runtime from advising steps before this one, on the root logger."""
    before = logging.root.manager.disable
    logging.disable(max(before, logging.WARNING))
    try:
        yield
    finally:
        logging.disable(before)


class _Reader:
    """Hands out images one by one, as ONNX Runtime's quantiser asks for them."""

    def __init__(self, images: Iterable[NDArray[np.uint8]]) -> None:
        self.images: Iterator[NDArray[np.uint8]] = iter(images)

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        image = next(self.images, None)
        return None if image is None else {INPUT: image}


def _parts(model: Any) -> tuple[set[str], set[str]]:  # noqa: ANN401  # an onnx.ModelProto
    """Return the names of nodes that are convolutions or lead to one, and of the last ones."""
    net: set[str] = set()
    last: set[str] = set()
    wanted: set[str] = set()  # values that a convolution is made of
    for node in reversed(model.graph.node):  # in their order, so that what follows is known
        leads = bool(wanted & set(node.output))
        if node.op_type == "Conv" and not leads:
            last.add(node.name)
        if leads or node.op_type == "Conv":
            net.add(node.name)
            wanted.update(node.input)
    return net, last


def _showing(model: Any, names: Iterable[str]) -> bytes:  # noqa: ANN401  # an onnx.ModelProto
    """Return a model that gives further values."""
    import onnx

    of_values = {value.name: value for value in model.graph.value_info}
    for name in names:
        value = onnx.ValueInfoProto(name=name)
        if name in of_values:
            value.CopyFrom(of_values[name])
        model.graph.output.append(value)
    content: bytes = model.SerializeToString()
    return content


def _layer(node: Any) -> str:  # noqa: ANN401  # an onnx.NodeProto
    """Return the name of the layer that a node was made of, as the detector has it."""
    for prop in node.metadata_props:
        if prop.key == _SCOPES:
            scopes = [part for part in prop.value.strip("[]").replace("'", "").split(", ") if part]
            named = [part for part in scopes if part.startswith("detector.")]
            if named:
                return str(named[-1]).removeprefix("detector.")
    return str(node.name)
