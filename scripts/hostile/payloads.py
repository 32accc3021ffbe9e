"""Files made by hand: some would run a program, others take gigabytes or hours of a few bytes."""

from __future__ import annotations

import builtins
import io
import json
import os
import pickle
import struct
import subprocess
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fcos_lightning import build_fcos
from fcos_lightning.checkpoints import describe
from hostile.mutations import OPTIONS, saved

#: torch's first pickle in files of before its version 1.6, and the two that follow.
_LEGACY = b"".join(
    pickle.dumps(one, 2) for one in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})
)


class _Call:
    """Pickled, it is a call of any function."""

    def __init__(self, function: object, *arguments: object) -> None:
        self._call = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self._call


def programs(mark: Path) -> dict[str, bytes]:
    """Return files, by their names, that would make the file ``mark``."""
    touch, opened = f"touch {mark}", f"open({str(mark)!r}, 'w')"
    calls = {
        "os.system": _Call(os.system, touch),
        "eval": _Call(builtins.eval, opened),
        "exec": _Call(builtins.exec, opened),
        "open": _Call(builtins.open, str(mark), "w"),
        "Popen": _Call(subprocess.Popen, touch),
    }
    files = {}
    for protocol in range(6):
        for name, call in calls.items():
            pickled = pickle.dumps({"state_dict": {"a": call}}, protocol)
            files[f"{name} {protocol}.pkl"] = pickled
            files[f"{name} {protocol}.ckpt"] = zipped(pickled)
            files[f"{name} {protocol}.pth"] = _LEGACY + pickled + pickle.dumps([], 2)
    text = _text(touch)
    by_hand = {
        "instance": b"(S'" + touch.encode() + b"'\nios\nsystem\n.",
        "object": _pickle(b"(", _name("os", "system"), text, b"o"),
        "new object": _pickle(_name("subprocess", "Popen"), text, b"\x85\x81"),
        "of Python 2": _pickle(_name("commands", "getoutput"), text, b"\x85R"),
        "name in a name": _pickle(_name("torch", "os.system"), text, b"\x85R"),
        "on the stack": b"\x80\x04\x8c\x02os\x8c\x06system\x93" + text + b"\x85R.",
        "a state's class": _pickle(
            _name("a", "B"), b")R}", _text("__class__"), _name("os", "system"), b"sb"
        ),
        "torch.load": _pickle(_name("torch", "load"), _text("/etc/passwd"), b"\x85R"),
        "torch.hub": _pickle(_name("torch.hub", "load"), text, text, b"\x86R"),
        "extension": b"\x80\x02\x82\x01.",
        "outside": _pickle(_text("x"), b"Q"),
    }
    for name, pickled in by_hand.items():
        files[f"{name}.pkl"], files[f"{name}.ckpt"] = pickled, zipped(pickled)
    twice = [("archive/data.pkl", by_hand["object"])]
    files["two pickles.ckpt"] = zipped(pickle.dumps({}, 2), twice)
    files["plain name.safetensors"] = zipped(by_hand["object"])
    return files


def bombs() -> dict[str, bytes]:
    """Return files, by their names, that ask for far more memory or time than they have bytes."""
    empty, nested = _name("collections", "OrderedDict"), b"]" + b"\x85" * 300_000
    pickles = {
        "bytearray": _pickle(_name("builtins", "bytearray"), _integer(2**33), b"\x85R"),
        "bytes": _pickle(_name("builtins", "bytes"), _integer(2**33), b"\x85R"),
        "long text": _pickle(b"X", struct.pack("<I", 2**32 - 1)),
        "long bytes": b"\x80\x04\x8e" + struct.pack("<Q", 2**40) + b".",
        "long bytearray": b"\x80\x05\x96" + struct.pack("<Q", 2**40) + b".",
        "long number": _pickle(b"\x8b", struct.pack("<I", 2**31 - 1)),
        "5,000 digits": b"I" + b"9" * 5000 + b"\n.",
        "number of 2000 bits": _pickle(b"\x8a\xff" + b"\x7f" * 255),
        "far memory": _pickle(b"Nr", struct.pack("<I", 2**32 - 1)),
        "many values": _pickle(b"(", b"N" * 5_000_000, b"l"),
        "many dictionaries": _pickle(b"(", b"}" * 5_000_000, b"l"),
        "many sets": b"\x80\x04(" + b"\x8f" * 5_000_000 + b"l.",
        "laughs": _pickle(b"]q\x00", *(_ten_times(level) for level in range(40))),
        "itself": _pickle(b"]q\x00h\x00a"),
        "deep lists": _pickle(b"]" * 200_000, b"a" * 199_999),
        "deep tuple as a key": _pickle(b"}", nested, b"Ns"),
        "deep tuple in a set": b"\x80\x04\x8f(" + nested + b"\x90.",
        "one hash": _pickle(
            b"}(", *(_integer(k * (2**61 - 1)) + b"N" for k in range(200_000)), b"u"
        ),
        "one list often": _pickle(
            *(b"(", b"N" * 100_000, b"lq\x00", empty, b"q\x01"),
            b"h\x01h\x00\x85R0" * 150_000,
            b"N",
        ),
        "one text often": _pickle(
            *(_text("a" * 1_000_000), b"q\x00", _name("_codecs", "encode"), b"q\x01("),
            b"h\x01h\x00X\x06\x00\x00\x00latin1\x86R" * 100_000,
            b"l",
        ),
        "one name often": _pickle(
            *(_text("a" * 1_000_000), b"q\x00("), b"h\x00h\x00\x93" * 100_000, b"l"
        ),
    }
    files = {f"{name}.pkl": content for name, content in pickles.items()}
    files |= {f"{name}.ckpt": zipped(content) for name, content in pickles.items()}
    files |= {
        f"{name}.pth": _LEGACY + content + pickle.dumps([], 2)
        for name, content in pickles.items()
        if len(content) < 10_000
    }
    files["laughing keys.pth"] = _LEGACY + pickle.dumps({}, 2) + pickles["laughs"]
    return files | _tensor_bombs() | _archive_bombs() | _header_bombs() | _description_bombs()


def _tensor_bombs() -> dict[str, bytes]:
    record = [("archive/data/0", bytes(64))]
    wrong = {
        "a terabyte": _tensor(2**38, (2**38,), (1,)),
        "8 GB": _tensor(2**31, (2**31,), (1,)),
        "outside its storage": _tensor(16, (2**20,), (1,)),
        "negative stride": _tensor(16, (4,), (-1,)),
        "negative size": _tensor(16, (-4,), (1,)),
        "one number a billion times": _tensor(16, (10**9,), (0,)),
        "one number in 10**12 places": _tensor(16, (10**6, 10**6), (0, 0)),
        "many dimensions": _tensor(16, (1,) * 1000, (1,) * 1000),
        "sizes of 70 bits": _tensor(16, (2**70,), (0,)),
    }
    files = {
        f"tensor, {name}.ckpt": zipped(_pickle(b"}", _text("a"), tensor, b"s"), record)
        for name, tensor in wrong.items()
    }
    quantised = _tensor(16, (16,), (1,)).replace(b"FloatStorage", b"QInt8Storage")
    files["tensor, quantised.ckpt"] = zipped(_pickle(b"}", _text("a"), quantised, b"s"), record)
    legacy = _tensor(2**34, (2**34,), (1,), legacy=True)
    files["tensor, 64 GB.pth"] = _LEGACY + _pickle(legacy) + pickle.dumps(["0"], 2)
    return files


def _archive_bombs() -> dict[str, bytes]:
    # 40 storages, each of them the same 2 MB of the file.
    tensors = b"".join(_text(f"{n}") + _tensor(2**19, (2**19,), (1,), f"{n}") for n in range(40))
    whole = zipped(_pickle(b"}(", tensors, b"u"), [("archive/data/0", bytes(2**21))])
    end = whole.rindex(b"PK\x05\x06")
    count, size, start = struct.unpack("<HII", whole[end + 10 : end + 20])
    table = whole[start : start + size]
    entry = table[table.rindex(b"PK\x01\x02") :]
    more = b"".join(
        entry[:28]
        + struct.pack("<H", len(f"archive/data/{n}"))
        + entry[30:46]
        + f"archive/data/{n}".encode()
        for n in range(1, 40)
    )
    head = struct.pack("<HHHHII", 0, 0, count + 39, count + 39, size + len(more), start)
    zeros = bytes(1 << 24)
    return {
        "overlapping records.ckpt": whole[:end] + more + b"PK\x05\x06" + head + b"\0\0",
        "compressed pickle.ckpt": zipped(b"\x80\x02(" + b"N" * (1 << 24) + b"l.", packed=True),
        "compressed storage.ckpt": zipped(
            _pickle(_tensor(1 << 22, (1 << 22,), (1,))), [("archive/data/0", zeros)], packed=True
        ),
    }


def _header_bombs() -> dict[str, bytes]:
    tensor = {"dtype": "F32", "shape": [2**38], "data_offsets": [0, 2**40]}
    overflow = {"dtype": "F32", "shape": [2**32, 2**32], "data_offsets": [0, 0]}
    headers: dict[str, bytes] = {
        "a terabyte": json.dumps({"a": tensor}).encode(),
        "overflow": json.dumps({"a": overflow}).encode(),
        "deep": b"[" * 100_000,
        "deep description": json.dumps({"__metadata__": {"fcos": "[" * 100_000}}).encode(),
        "5,000 digits": json.dumps({"__metadata__": {"fcos": "9" * 5000}}).encode(),
        "spaces": b" " * 20_000_000 + b"{}",
    }
    files = {
        f"header, {name}.safetensors": struct.pack("<Q", len(header)) + header
        for name, header in headers.items()
    }
    files["header, long.safetensors"] = struct.pack("<Q", 2**40) + b"{}"
    return files


def _description_bombs() -> dict[str, bytes]:
    detector = build_fcos(num_classes=2, **OPTIONS)
    described = describe(detector, data={}, shorter_side=64, longer_side=64)
    changes: Mapping[str, Mapping[str, Any]] = {
        "a billion classes": {"num_classes": 10**9},
        "a million channels": {"fpn": {"channels": 10**6}},
        "8192 channels": {"fpn": {"channels": 8192}},
        "100,000 convolutions": {"head": {"num_convs": 100_000}},
        "a million blocks": {"backbone": {"name": "tiny", "depths": [10**6] * 4}},
        "a million layers": {"backbone": {"name": "vovnet", "layers": 10**6}},
        "60 levels": {"fpn": {"levels": [*range(3, 63)]}},
        "level 10**6": {"fpn": {"levels": [10**6]}},
        "a net of gigabytes": {"backbone": {"name": "timm/convnext_xxlarge"}},
        "a net from the hub": {"backbone": {"name": "timm/hf_hub:some/model"}},
        "a net from a folder": {"backbone": {"name": "timm/local-dir:/nowhere"}},
        "weights from the network": {"backbone": {"name": "resnet18", "weights": "imagenet"}},
        "weights from a file": {"backbone": {"name": "resnet18", "weights": "/etc/passwd"}},
        "a side of a million": {},
    }
    files = {}
    for name, change in changes.items():
        told = {**described, "spec": {**detector.spec, **change}}
        if not change:
            told["shorter_side"] = 10**6
        files[f"{name}.ckpt"] = saved({"state_dict": {}, "fcos": told})
    return files


def zipped(pickled: bytes, more: list[tuple[str, bytes]] = [], packed: bool = False) -> bytes:  # noqa: B006
    """Return an archive in torch's form."""
    buffer = io.BytesIO()
    kind = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
    with zipfile.ZipFile(buffer, "w", kind) as archive:
        for name, content in (("data.pkl", pickled), ("version", b"3\n"), ("byteorder", b"little")):
            archive.writestr(f"archive/{name}", content)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a name is there already
            for name, content in more:
                archive.writestr(zipfile.ZipInfo(name), content, kind)
    return buffer.getvalue()


def _pickle(*instructions: bytes) -> bytes:
    return b"\x80\x02" + b"".join(instructions) + b"."


def _name(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def _text(text: str) -> bytes:
    return b"X" + struct.pack("<I", len(text.encode())) + text.encode()


def _integer(number: int) -> bytes:
    content = number.to_bytes(number.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(content)]) + content


def _ten_times(level: int) -> bytes:
    return b"(" + b"h" + bytes([level]) + (b"h" + bytes([level])) * 9 + b"lq" + bytes([level + 1])


def _tensor(
    numel: int,
    size: tuple[int, ...],
    stride: tuple[int, ...],
    key: str = "0",
    legacy: bool = False,
) -> bytes:
    row = [b"(" + b"".join(map(_integer, numbers)) + b"t" for numbers in (size, stride)]
    storage = b"(" + _text("storage") + _name("torch", "FloatStorage") + _text(key) + _text("cpu")
    storage += _integer(numel) + (b"N" if legacy else b"") + b"tQ"
    hooks = _name("collections", "OrderedDict") + b")R"
    rebuild = _name("torch._utils", "_rebuild_tensor_v2")
    return rebuild + b"(" + storage + b"K\x00" + row[0] + row[1] + b"\x89" + hooks + b"tR"
