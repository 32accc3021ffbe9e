"""What OpenVINO leaves behind in a process."""

import subprocess
import sys

import pytest

_PROGRAM = """
import gc, os, signal, sys
import onnx
from onnx import TensorProto, helper
from fcos_lightning.inference.engines.openvino_engine import OpenVinoEngine

side = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in "xy"]
node = helper.make_node("Relu", ["x"], ["y"])
graph = helper.make_graph([node], "g", side[:1], side[1:])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
engines = [OpenVinoEngine(model.SerializeToString()) for _ in range(2)]
while engines:
    engines.pop(0)
    gc.collect()
signal.signal(signal.SIGUSR1, lambda *_: print("answered", flush=True))
os.kill(os.getpid(), signal.SIGUSR1)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_signals_are_answered_after_engines_are_gone() -> None:
    pytest.importorskip("openvino")
    done = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "answered\n"), done.stderr
