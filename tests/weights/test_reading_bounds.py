"""What a file may make of itself: hand-made files that ask for more than they hold."""

from __future__ import annotations

import io
import pickle
import struct
import sys
import time
import zipfile
from pathlib import Path

import pytest
import torch

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))

from fcos_lightning.errors import UserError  # noqa: E402
from fcos_lightning.weights.reading import Inert, read_file  # noqa: E402
from hostile.mutations import saved  # noqa: E402
from hostile.payloads import bombs, programs, zipped  # noqa: E402

BOMBS = bombs()
#: The same pickle in torch's forms costs the same.
READ = [
    name for name in BOMBS if name.endswith(".pkl") or name.partition(".")[0] + ".pkl" not in BOMBS
]

#: What they hold is in proportion to their length.
READABLE = {
    *("one hash.pkl", "deep tuple as a key.pkl", "deep tuple in a set.pkl", "far memory.pkl"),
    *("header, deep description.safetensors", "header, 5,000 digits.safetensors"),
}


@pytest.mark.parametrize("name", READ)
def test_a_small_file_takes_little_memory_and_time(
    tmp_path: Path, name: str, little_memory: None
) -> None:
    file = tmp_path / name
    file.write_bytes(BOMBS[name])
    began = time.process_time()
    try:
        content = read_file(file, "weights")
        assert name in READABLE or "fcos" in content  # descriptions: tests/checkpoints
    except UserError as error:
        said = str(error)
        assert "nothing in it was run" in said
        assert "MemoryError" not in said and "RuntimeError" not in said  # refused before it is made
        assert said.isprintable() and len(said) < 1000
    assert time.process_time() - began < 10


def test_nothing_that_a_file_names_is_run(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    made = programs(mark)
    assert len(made) > 100
    for name, content in made.items():
        file = tmp_path / name
        file.write_bytes(content)
        for exact in (False, True):
            with pytest.raises(UserError, match="nothing in it was run"):
                read_file(file, "weights", exact=exact)
        assert not mark.exists(), name


def test_the_files_that_would_run_a_program_do_so_elsewhere(tmp_path: Path) -> None:
    # Otherwise the test above proves nothing.
    mark = tmp_path / "mark"
    pickle.loads(programs(mark)["os.system 2.pkl"])
    assert mark.exists()


@pytest.mark.parametrize("zip_file", [True, False])
def test_what_torch_writes_is_read_bit_by_bit(tmp_path: Path, zip_file: bool) -> None:
    base = torch.arange(24.0)
    tree = {
        "whole": base,
        "part": base[4:10].view(2, 3),
        "turned": base.view(4, 6).t(),
        "expanded": torch.ones(1, 3).expand(4, 3),
        "empty": torch.zeros(0, 5),
        "one": torch.tensor(5),
        "parameter": torch.nn.Parameter(torch.ones(2)),
        **{
            str(dtype): torch.tensor([0, 1, 2]).to(dtype)
            for dtype in (
                *(torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64),
                *(torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64),
                # Its own old form has no way to say these.
                *((torch.uint16, torch.float8_e4m3fn) if zip_file else ()),
            )
        },
        "plain": [None, True, -(2**40), 2.5, "a", b"b", (1, 2), {3: {4}}, torch.Size([1, 2])],
        "kind": torch.float16,
        "device": torch.device("cpu"),
    }
    file = tmp_path / "a.pt"
    file.write_bytes(saved(tree, zipped=zip_file))
    expected = torch.load(file, weights_only=True)
    for exact in (False, True):
        found = read_file(file, "weights", exact=exact)
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            if isinstance(value, torch.Tensor):
                assert found[key].dtype == value.dtype and found[key].shape == value.shape
                assert found[key].stride() == value.stride(), key
                same = torch.equal(
                    found[key].contiguous().view(torch.uint8) if value.ndim else found[key],
                    value.detach().contiguous().view(torch.uint8) if value.ndim else value,
                )
                assert same, key
            else:
                assert found[key] == value, key
        found["whole"][4] = 77.0  # views of the same storage stay that
        assert found["part"][0, 0] == 77.0


def test_numbers_written_on_another_kind_of_machine(tmp_path: Path) -> None:
    file = tmp_path / "a.pt"
    content = {"a": torch.arange(5, dtype=torch.int32), "b": torch.tensor([True, False])}
    file.write_bytes(saved(content))
    turned = io.BytesIO()
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(turned, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name.endswith("byteorder"):
                data = {b"little": b"big", b"big": b"little"}[data]
            elif name.endswith("data/0"):
                data = struct.pack("5i", *struct.unpack(">5i", data))
            new.writestr(name, data)
    file.write_bytes(turned.getvalue())
    found = read_file(file, "weights")
    assert found["a"].tolist() == [0, 1, 2, 3, 4] and found["b"].tolist() == [True, False]


def test_tensors_may_share_numbers_in_proportion_to_the_file(tmp_path: Path) -> None:
    file = tmp_path / "a.pt"
    shared = torch.zeros(2**20)
    file.write_bytes(saved({str(n): shared[:] for n in range(50)}))  # 4 MB that show 200
    assert len(read_file(file, "weights")) == 50
    file.write_bytes(saved({str(n): shared[:] for n in range(100)}))
    with pytest.raises(UserError, match="show far more numbers than it holds"):
        read_file(file, "weights")


def test_exact_reading_refuses_what_cannot_be_taken_over(tmp_path: Path) -> None:
    file = tmp_path / "a.pt"
    for value, said in (
        (Path("/runs"), "pathlib.*PosixPath, which cannot be taken over"),
        (torch.zeros(2, 2).to_sparse(), "names torch.* cannot be taken over"),
        ({(1, 2): 3}, "a tuple as a key"),
    ):
        file.write_bytes(saved({"callbacks": {"mine": value}}))
        read_file(file, "weights")  # where it is of no interest, it is passed over
        with pytest.raises(UserError, match=said):
            read_file(file, "weights", exact=True)


def test_a_sparse_tensor_is_no_tensor_here(tmp_path: Path) -> None:
    file = tmp_path / "a.pt"
    file.write_bytes(saved({"a": torch.zeros(2, 2).to_sparse()}))
    found = read_file(file, "weights")["a"]
    assert isinstance(found, Inert) and found.name == "torch._utils._rebuild_sparse_tensor"


def test_keys_that_are_no_plain_values_are_kept_apart(tmp_path: Path) -> None:
    file = tmp_path / "a.pkl"
    file.write_bytes(pickle.dumps({(1, 2): "a", 2**100: "b", "c": 3}))
    found = read_file(file, "weights")
    assert found["c"] == 3 and len(found) == 3
    assert [key.name for key in found if isinstance(key, Inert)] == [
        "builtins.tuple",
        "builtins.int",
    ]


@pytest.mark.parametrize("name", ["compressed pickle.ckpt", "compressed storage.ckpt"])
def test_a_compressed_record_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(BOMBS[name])
    with pytest.raises(UserError, match=r"its record '\w+' is compressed, which torch never does"):
        read_file(tmp_path / name, "weights")


def test_a_program_of_torchscript_is_named(tmp_path: Path) -> None:
    file = tmp_path / "a.pt"
    file.write_bytes(zipped(pickle.dumps({}, 2), [("archive/constants.pkl", b"")]))
    with pytest.raises(UserError, match="a TorchScript program; save a state_dict"):
        read_file(file, "weights")


def test_a_file_that_may_not_be_read_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a.pt"
    file.write_bytes(saved({}))

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(UserError, match=r"a\.pt: cannot be read \(Permission denied\)"):
        read_file(file, "weights")
