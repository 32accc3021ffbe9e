"""Graphs that ONNX Runtime computes."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fcos_lightning.errors import UserError, shown
from fcos_lightning.extras import absent, pip_install
from fcos_lightning.printing import first_line

#: To write a model; to run one, the first and the last are enough.
_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
_ON_GPU = "CUDAExecutionProvider"

#: ``TensorProto.EXTERNAL`` of the standard: the numbers are in another file.
_EXTERNAL = 1
_STANDARD = ("", "ai.onnx")


class OnnxEngine:
    """An ONNX model that is ready to run, see ``Engine``.

    Args:
        model: its content.
        device: see ``onnx_session``.
        callers: see ``Engine``; on a GPU one.

    Raises:
        UserError: if ONNX Runtime is not installed or cannot run it.
    """

    def __init__(self, model: bytes, device: str = "auto", callers: int = 1) -> None:
        self._session = onnx_session(model, device, max(1, torch.get_num_threads() // callers))
        self.callers = 1 if _ON_GPU in self._session.get_providers() else callers
        try:
            self.about: Mapping[str, str] = self._session.get_modelmeta().custom_metadata_map
            self.inputs = tuple(one.name for one in self._session.get_inputs())
            self.outputs = tuple(one.name for one in self._session.get_outputs())
        except UnicodeDecodeError:
            raise UserError("the model is damaged: a text in it is none") from None

    def __call__(self, feed: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
        """Return what it gives, see ``Engine``."""
        try:
            found = self._session.run(list(self.outputs), dict(feed))
        except Exception as error:  # of its own kinds, none of which it exports
            raise UserError(f"onnxruntime cannot compute it: {first_line(error)}") from error
        return dict(zip(self.outputs, found, strict=True))


def check_self_contained(model: bytes) -> None:
    """Refuse a model that names other files, or operators that are none of the standard.

    ONNX Runtime and OpenVINO would open whatever file a model names for its numbers.

    Args:
        model: content of a file that anybody may have made.

    Raises:
        UserError: if it is no ONNX model, or does one of these.
    """
    check_packages("onnx")
    import onnx

    try:
        _check(onnx, onnx.load_model_from_string(model))
    except UserError:
        raise
    except Exception as error:  # of protobuf's own kinds, and of text that is none
        raise UserError(f"is no ONNX model, or is damaged ({first_line(error)})") from None


def _check(onnx: Any, model: Any) -> None:  # noqa: ANN401  # the package, and a ModelProto
    waiting: list[Any] = [model]
    while waiting:  # every message in it, whatever holds it: weights, attributes, functions
        message = waiting.pop()
        if isinstance(message, onnx.TensorProto):
            message.name.encode()  # all text is looked at, whatever else is not
            if message.data_location == _EXTERNAL or message.external_data:
                raise UserError(
                    "keeps numbers in other files, and none but the model itself is read; save it "
                    "as one file"
                )
            continue
        if isinstance(message, onnx.NodeProto) and message.domain not in _STANDARD:
            raise UserError(
                f"has operators of {shown(message.domain)}, and none but ONNX's own are run"
            )
        for field, value in message.ListFields():
            if field.message_type is not None:
                waiting.extend([value] if hasattr(value, "ListFields") else value)


def check_packages(*needed: str) -> None:
    """Make sure that packages of the ``onnx`` extra are there.

    Args:
        *needed: their names; none: all of them.

    Raises:
        UserError: if one is missing.
    """
    if missing := absent(*(needed or _PACKAGES)):
        raise UserError(
            f"ONNX needs {' and '.join(missing)}, which is not installed; {pip_install('onnx')}"
        )


def onnx_session(model: bytes, device: str = "auto", threads: int | None = None) -> Any:  # noqa: ANN401  # an onnxruntime.InferenceSession
    """Make a model ready to run.

    Args:
        model: its content.
        device: ``auto``: on a GPU where this ONNX Runtime is one for GPUs; ``cpu``; ``cuda`` or
            ``cuda:N``.
        threads: of a processor, for each call; None: as many as torch has.

    Raises:
        UserError: if ONNX Runtime is not installed, cannot run it, or has no such device.
    """
    check_packages("onnxruntime")
    # Read when ONNX Runtime is imported: it would keep an identity of this machine in the user's
    # cache, and report its use to its makers.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or torch.get_num_threads()
    options.log_severity_level = 3  # errors
    available = onnxruntime.get_available_providers()
    number = re.fullmatch(r"cuda(?::(\d{1,4}))?", device)
    if device not in ("auto", "cpu") and (number is None or _ON_GPU not in available):
        raise UserError(
            f"device={device}: this onnxruntime has {', '.join(available)}; give device=cpu"
        )
    known: dict[str, dict[str, str]] = {"CPUExecutionProvider": {}}
    if device != "cpu" and _ON_GPU in available:
        place = {"device_id": number[1]} if number and number[1] else {}
        known = {_ON_GPU: {"use_tf32": "0", **place}, **known}
    providers = [(name, chosen) for name, chosen in known.items() if name in available]
    try:
        # Not to be tried again in another way, with lines on the terminal.
        return onnxruntime.InferenceSession(
            model, options, providers=providers, enable_fallback=False
        )
    except Exception as error:  # of its own kinds, none of which it exports
        raise UserError(
            f"onnxruntime {onnxruntime.__version__} cannot run this detector: {first_line(error)}"
        ) from error
