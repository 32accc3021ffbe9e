"""What ONNX Runtime does beside running a model."""

import os
import subprocess
import sys
from pathlib import Path

import onnx
from onnx import TensorProto, helper

CODE = """
import sys
from pathlib import Path
from fcos_lightning.inference.engines.onnx_runtime import onnx_session
print(onnx_session(Path(sys.argv[1]).read_bytes()).get_inputs()[0].name)
"""


def test_it_reports_nothing_and_keeps_nothing(tmp_path: Path) -> None:
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "model.onnx")
    home = tmp_path / "home"
    home.mkdir()
    names = ("XDG_CACHE_HOME", "ORT_DISABLE_TELEMETRY")
    environment = {key: value for key, value in os.environ.items() if key not in names}
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(tmp_path / "model.onnx")],
        env={**environment, "HOME": str(home)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "x\n"
    assert not [path for path in home.rglob("*") if "Microsoft" in str(path)]
