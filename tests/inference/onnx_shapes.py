"""What an ONNX model takes and gives."""

import onnx


def shapes_of(model: onnx.ModelProto) -> dict[str, list[str | int]]:
    """Return names or lengths of the sides of each input and output."""
    return {
        value.name: [size.dim_param or size.dim_value for size in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
