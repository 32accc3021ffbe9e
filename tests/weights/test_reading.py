import argparse
import builtins
import collections
import os
import pickle
import struct
import subprocess
import sys
import types
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from fcos_lightning.errors import UserError
from fcos_lightning.weights.files import read_weights, weights_in
from fcos_lightning.weights.reading import Inert, read_file, tensor_of


class Call:
    """Pickled, it is a call of any function."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self.function, self.arguments


def save(path: Path, content: object, how: str) -> None:
    if how == "pickle":
        path.write_bytes(pickle.dumps(content, protocol=2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=how == "zip")


HOW = pytest.mark.parametrize("how", ["zip", "legacy", "pickle"])


@HOW
@pytest.mark.parametrize(
    ("function", "argument"),
    [
        (os.system, "touch {mark}"),
        (builtins.eval, "open('{mark}', 'w')"),
        (builtins.exec, "open('{mark}', 'w')"),
        (subprocess.Popen, "touch {mark}"),
        (builtins.open, "{mark}"),
        (torch.load, "{mark}"),
        (np.load, "{mark}"),
    ],
)
def test_a_payload_is_one_line_and_runs_nothing(
    tmp_path: Path, how: str, function: object, argument: str
) -> None:
    mark, file = tmp_path / "mark", tmp_path / "evil.pth"
    bomb = Call(function, argument.format(mark=mark))
    for content in (bomb, {"model": {"a.weight": bomb}}, {"model": {}, "optimizer": [bomb]}):
        save(file, content, how)
        with pytest.raises(
            UserError, match=r"evil\.pth: not a readable file of plain data; nothing"
        ) as caught:
            read_file(file, "weights")
        assert "\n" not in str(caught.value)
        assert not mark.exists()


def test_names_that_are_hidden_from_a_first_look(tmp_path: Path) -> None:
    # STACK_GLOBAL takes module and name from the stack: no scan of the file for names sees them.
    file = tmp_path / "evil.pth"
    for protocol in range(6):
        file.write_bytes(pickle.dumps(Call(os.system, f"touch {tmp_path}/mark"), protocol=protocol))
        with pytest.raises(UserError, match="nothing in it was run"):
            read_file(file, "weights")
        torch.save({"a": Call(os.system, f"touch {tmp_path}/mark")}, file, pickle_protocol=protocol)
        with pytest.raises(UserError, match="nothing in it was run"):
            read_file(file, "weights")
    assert not (tmp_path / "mark").exists()


def foreign_module() -> types.ModuleType:
    """Stands for a package that wrote the file and is not installed where it is read."""
    module = types.ModuleType("some_project")

    class History:
        def __init__(self) -> None:
            self.log = np.arange(3.0)
            self.lengths = collections.deque([1, 2], maxlen=5)
            # Methods of classes are pickled as getattr(class, name).
            self.statistics = OrderedDict(mean=History.mean)

        def mean(self) -> float:
            raise AssertionError("was called")

    class ConfigDict(dict):  # type: ignore[type-arg]
        pass

    for kind in (History, ConfigDict):
        kind.__module__, kind.__qualname__ = "some_project", kind.__name__
        setattr(module, kind.__name__, kind)
    History.mean.__module__, History.mean.__qualname__ = "some_project", "History.mean"
    return module


@HOW
def test_what_real_files_carry_beside_their_weights(
    tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = foreign_module()
    net = nn.Conv2d(2, 3, 1)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    net(torch.ones(1, 2, 1, 1)).sum().backward()
    optimizer.step()
    weights = {f"module.{key}": value.detach() for key, value in net.state_dict().items()}
    if how == "pickle":
        weights = {key: value.numpy() for key, value in weights.items()}  # type: ignore[misc]
    config = module.ConfigDict(lr=0.1)
    config.note = "an attribute"
    file = tmp_path / "a.pth"
    with monkeypatch.context() as installed:
        installed.setitem(sys.modules, "some_project", module)
        save(
            file,
            {
                "meta": {
                    "config": config,
                    "args": argparse.Namespace(lr=0.1),
                    "epoch": np.int64(3),
                    "best": np.float32(0.4),
                    "names": {"a", "b"},
                    "place": Path("/runs"),
                    "counts": collections.defaultdict(list, a=[1]),
                    "random": np.random.default_rng(0).bit_generator.state,
                },
                "state_dict": OrderedDict(weights),
                "message_hub": {"log_scalars": OrderedDict({"train/lr": module.History()})},
                **({} if how == "pickle" else {"optimizer": optimizer.state_dict()}),
            },
            how,
        )
    content = read_file(file, "weights")
    history = content["message_hub"]["log_scalars"]["train/lr"]
    assert isinstance(history, Inert) and history.name == "some_project.History"
    assert read_weights(file).keys() == {"weight", "bias"}
    for key, value in read_weights(file).items():
        assert torch.equal(value, net.state_dict()[key])


@pytest.mark.parametrize("module", ["pathlib", "pathlib._local"])
def test_a_path_of_any_python(tmp_path: Path, module: str) -> None:
    # Python 3.13 pickles paths under another name than the versions before and after it.
    file = tmp_path / "a.pkl"
    place = b"c" + module.encode() + b"\nPosixPath\n(V/runs\ntR"
    file.write_bytes(b"(dVplace\n" + place + b"sVblobs\n(dVa\nF1.5\nss.")
    content = read_file(file, "weights")
    assert content["place"].name == f"{module}.PosixPath" and content["blobs"] == {"a": 1.5}


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int64", "uint8", "bool"])
@pytest.mark.parametrize("shape", [(), (0, 3), (2, 3, 4)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_numpy_arrays_become_tensors(
    tmp_path: Path, dtype: str, shape: tuple[int, ...], order: str
) -> None:
    numbers = np.asarray(np.random.default_rng(0).random(shape) * 9)
    array = np.array(numbers.astype(dtype), order=order)
    for protocol in range(6):
        file = tmp_path / "a.pkl"
        file.write_bytes(pickle.dumps({"blobs": {"a": array}}, protocol=protocol))
        assert np.array_equal(read_weights(file)["a"].numpy(), array)


def test_a_pickle_of_python_2(tmp_path: Path) -> None:
    # As Caffe2's model files are: strings are bytes, the array's content among them.
    content = struct.pack("<2f", 1.5, -2.0)
    file = tmp_path / "a.pkl"
    file.write_bytes(
        b"\x80\x02}q\x00U\x05blobsq\x01}q\x02U\x07conv1_wq\x03cnumpy.core.multiarray\n"
        b"_reconstruct\nq\x04cnumpy\nndarray\nq\x05K\x00\x85U\x01b\x87Rq\x06(K\x01K\x02\x85"
        b"cnumpy\ndtype\nq\x07U\x02f4K\x00K\x01\x87Rq\x08(K\x03U\x01<NNNJ\xff\xff\xff\xff"
        b"J\xff\xff\xff\xffK\x00tb\x89U\x08" + content + b"tbss."
    )
    assert read_weights(file)["conv1_w"].tolist() == [1.5, -2.0]


def test_arrays_that_lie_about_their_size_are_no_tensors(tmp_path: Path) -> None:
    file = tmp_path / "a.pkl"
    honest = pickle.dumps({"a": np.zeros(3, dtype=np.float32)}, protocol=2)
    assert tensor_of(pickle.loads(honest)["a"]) is None  # arrays as such are not read files
    file.write_bytes(honest.replace(b"K\x03\x85", b"K\x09\x85"))
    with pytest.raises(UserError, match="expected a state dict"):
        read_weights(file)
    file.write_bytes(pickle.dumps({"a": np.array([os.system], dtype=object)}, protocol=2))
    with pytest.raises(UserError, match="nothing in it was run"):
        read_weights(file)


def test_safetensors(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"a": torch.arange(3)}, tmp_path / "a.safetensors")
    assert read_weights(tmp_path / "a.safetensors")["a"].tolist() == [0, 1, 2]
    (tmp_path / "b.safetensors").write_bytes(b"\xff" * 50)
    with pytest.raises(UserError, match="not a readable file"):
        read_weights(tmp_path / "b.safetensors")


def test_levels_and_prefixes_are_taken_away() -> None:
    weight = torch.ones(1)
    for content in (
        {"a.b": weight},
        {"module.a.b": weight},
        {"model": {"a.b": weight}, "optimizer": {"state": {}}},
        {"state_dict": {"module.a.b": weight, "module.c": "text"}, "epoch": 3},
        {"model": {"state_dict": {"module.module.a.b": weight}}},
    ):
        assert weights_in(content).keys() == {"a.b"}
    assert weights_in({"module.a": weight, "b": weight}).keys() == {"module.a", "b"}
    assert weights_in([weight]) == {}
