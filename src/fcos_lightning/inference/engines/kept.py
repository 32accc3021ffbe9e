"""A detector on another engine than torch: its graph is made once, and kept in the cache."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path

import torch

from fcos_lightning import __version__
from fcos_lightning.data.resizing import Sides
from fcos_lightning.detector import DenseDetector
from fcos_lightning.errors import UserError
from fcos_lightning.inference.deployed.drawn import drawn_pictures
from fcos_lightning.inference.deployed.equality import DifferentError, compared
from fcos_lightning.inference.engines.dense import EngineDetector
from fcos_lightning.inference.engines.engine import Engine
from fcos_lightning.inference.engines.onnx_engine import check_packages
from fcos_lightning.inference.engines.onnx_export import export_onnx
from fcos_lightning.inference.engines.opening import engine_of
from fcos_lightning.inference.engines.openvino_engine import check_openvino
from fcos_lightning.storage.caches import cache_folder, waiting_for
from fcos_lightning.storage.replacing import write_whole

#: Graphs that are kept; of more, those go that were not used for the longest time.
_MOST_KEPT = 8
#: Pictures that a graph is held against torch on before it is used for the first time.
_COMPARED_ON = 3
#: How large they are where nobody says at which size the detector was evaluated.
_SIDES = (256, 448)


def on_engine(
    detector: DenseDetector,
    backend: str,
    device: str = "auto",
    sides: Mapping[str, int | None] | None = None,
    callers: int = 1,
) -> tuple[EngineDetector, bytes]:
    """Return a detector that an engine computes, and the ONNX model that it does so by.

    It finds what torch finds, within the bounds of ``compared``: that is checked on drawn pictures
    before a model is used for the first time. The model is kept under a name made of all that it
    is made of: weights, description, versions. A detector with parts of somebody's own, whose code
    has no name, is converted each time.

    Args:
        detector: stays as it is.
        backend: ``onnx`` or ``openvino``.
        device: see ``open_file``.
        sides: ``shorter_side`` and ``longer_side`` that images are resized to, in pixels; they
            stand in the model.
        callers: see ``Engine``.

    Raises:
        UserError: if a package is missing, the detector has no counterpart in ONNX, or the engine
            finds something else.
    """
    if backend == "openvino":
        check_openvino()
    check_packages()
    sides = dict(sides or {})
    make = partial(engine_of, backend=backend, device=device, callers=callers)
    if detector.spec.get("custom"):
        return _made(detector, backend, make, sides)
    file = cache_folder() / "engines" / f"{_name(detector, sides)}.{backend}.onnx"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with waiting_for(file.parent / "lock"):
            return _kept(file, detector, make, device) or _keep(
                file, _made(detector, backend, make, sides)
            )
    except OSError:  # a folder that cannot be written: it is made for this once
        return _made(detector, backend, make, sides)


def _kept(
    file: Path, detector: DenseDetector, make: Callable[[bytes], Engine], device: str
) -> tuple[EngineDetector, bytes] | None:
    if not file.is_file():
        return None
    model = file.read_bytes()
    try:
        engine = make(model)
    except UserError:
        if device not in ("auto", "cpu"):  # which may be what is wrong, not the model
            raise
        return None  # damaged: it is made again
    with suppress(OSError):
        os.utime(file)
    return EngineDetector(detector, engine).eval(), model


def _keep(file: Path, made: tuple[EngineDetector, bytes]) -> tuple[EngineDetector, bytes]:
    with suppress(UserError):  # of a full disk: what was made serves this once
        write_whole(made[1], file)
    others = sorted(file.parent.glob("*.onnx"), key=lambda one: one.stat().st_mtime)
    for old in others[:-_MOST_KEPT]:
        old.unlink(missing_ok=True)
    return made


def _made(
    detector: DenseDetector,
    backend: str,
    make: Callable[[bytes], Engine],
    sides: Mapping[str, int | None],
) -> tuple[EngineDetector, bytes]:
    model = export_onnx(detector, **sides)
    there = EngineDetector(detector, make(model)).eval()
    looked_at = Sides(sides.get("shorter_side") or _SIDES[0], sides.get("longer_side") or _SIDES[1])
    try:
        compared(
            detector,
            lambda planes: there.detect([planes])[0].to("cpu"),
            drawn_pictures(looked_at, _COMPARED_ON),
        )
    except DifferentError as error:
        raise UserError(f"backend={backend}: {error}; leave backend out") from None
    return there, model


def _name(detector: DenseDetector, sides: Mapping[str, int | None]) -> str:
    """Return a name that other weights, another description or another version do not have."""
    told = hashlib.sha256()
    versions = [__version__, torch.__version__]
    told.update(json.dumps([detector.spec, dict(sides), versions], sort_keys=True).encode())
    for key, value in sorted(detector.state_dict().items()):
        told.update(f"\0{key} {value.dtype} {list(value.shape)}\0".encode())
        told.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return told.hexdigest()[:32]
