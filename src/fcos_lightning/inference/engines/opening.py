"""Converted files of anybody's, opened so that nothing but themselves is read."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from fcos_lightning.errors import UserError
from fcos_lightning.inference.engines.engine import Engine, backend_for
from fcos_lightning.inference.engines.file_detector import FileDetector
from fcos_lightning.inference.engines.onnx_engine import OnnxEngine, check_self_contained
from fcos_lightning.inference.engines.openvino_engine import OpenVinoEngine, check_openvino
from fcos_lightning.storage.small_files import is_pipe_or_device, read_small

#: No ONNX model is larger, as protobuf writes none; of an .xml, the graph alone.
_LARGEST = {".onnx": 2**31 - 1, ".xml": 200_000_000, ".bin": 2**34}


def open_file(
    path: str | Path, backend: str = "auto", device: str = "auto", callers: int = 1
) -> FileDetector:
    """Return the detector that a converted file is.

    Args:
        path: of ``model.onnx``, or of ``model.xml``, beside which ``model.bin`` lies.
        backend: see ``backend_for``.
        device: ``auto``, ``cpu``, and for ONNX Runtime ``cuda`` or ``cuda:N``.
        callers: see ``Engine``.

    Raises:
        UserError: if it is missing, damaged or none of these files, or what runs it is not
            installed.
    """
    path = Path(os.path.expanduser(path))
    backend, suffix = backend_for(path, backend), path.suffix.lower()
    if backend == "openvino":
        check_openvino()
    content = _content(path, suffix)
    try:
        engine: Engine
        if suffix == ".xml":
            weights = _content(path.with_suffix(".bin"), ".bin")
            engine = OpenVinoEngine(content, weights, device, callers)
        else:
            check_self_contained(content)
            engine = engine_of(content, backend, device, callers)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    return FileDetector(path, engine)


def engine_of(content: bytes, backend: str, device: str, callers: int = 1) -> Engine:
    """Return what computes an ONNX model; one of anybody's has to be self-contained.

    Args:
        content: of the model.
        backend: ``onnx`` or ``openvino``.
        device: see ``open_file``.
        callers: see ``Engine``.

    Raises:
        UserError: if what runs it is not installed, or cannot.
    """
    if backend == "openvino":
        return OpenVinoEngine(content, device=device, callers=callers)
    return OnnxEngine(content, device, callers)


def _content(path: Path, suffix: str) -> bytes:
    advice = "; give the file that fcos-convert wrote"
    if is_pipe_or_device(path):
        raise UserError(f"{path} cannot be read: it is no file{advice}")
    content = read_small(path, _LARGEST[suffix], advice=advice)
    if not content:
        raise UserError(f"{path} is empty; convert the checkpoint again")
    return content


def refuse_settled(path: str | Path, given: Iterable[str]) -> None:
    """Refuse what is settled in a converted file.

    Args:
        path: of the file.
        given: what a user gives of that, as ``decoder.nms_iou``; may be empty.

    Raises:
        UserError: naming the first of them.
    """
    for key in given:
        raise UserError(
            f"{key}= is settled in {path}; leave it out, or give the checkpoint that it was made "
            "of, which backend= runs as well"
        )
