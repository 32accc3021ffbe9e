"""Graphs that OpenVINO computes, on the processor."""

from __future__ import annotations

import queue
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fcos_lightning.errors import UserError
from fcos_lightning.extras import absent, pip_install
from fcos_lightning.printing import first_line

#: Where an .xml keeps what stands beside an ONNX graph.
_ABOUT = "framework"


def check_openvino() -> None:
    """Make sure that OpenVINO is there.

    Raises:
        UserError: if it is not.
    """
    if absent("openvino"):
        raise UserError(f"OpenVINO is not installed; {pip_install('openvino')}")


@cache
def openvino_core() -> Any:  # noqa: ANN401  # an openvino.Core
    """Return the one core of this process, which lives as long as it does.

    Each core gives signal handlers a stack of its own and puts back the one before, when it goes.
    Of two that go in the order they came in, the second puts back what the first has given to the
    system (``SigAltStackSetup`` in the processor plugin's ``plugin.cpp``): the next Ctrl-C, or the
    end of a loader process, kills a process in which that has happened.
    """
    import openvino

    return openvino.Core()


class OpenVinoEngine:
    """A model that is ready to run, see ``Engine``.

    Args:
        model: content of an .xml, or of an ONNX model.
        weights: content of the .bin that belongs to an .xml; None: there is none.
        device: ``auto`` or ``cpu``.
        callers: see ``Engine``.

    Raises:
        UserError: if OpenVINO is not installed or cannot run it, or for another device.
    """

    def __init__(
        self,
        model: bytes,
        weights: bytes | None = None,
        device: str = "auto",
        callers: int = 1,
    ) -> None:
        check_openvino()
        if device not in ("auto", "cpu"):
            raise UserError(f"device={device}: OpenVINO runs on the processor here; give cpu")
        import openvino

        self._named = f"openvino {openvino.__version__}"
        core = openvino_core()
        # Processors with AMX compute in bfloat16 unless they are told otherwise.
        exact = {
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "NUM_STREAMS": callers,
        }
        self.callers = callers
        try:
            if weights is None:
                read = core.read_model(model)
            else:
                read = core.read_model(
                    model, openvino.Tensor(np.frombuffer(weights, dtype=np.uint8))
                )
            about = read.get_rt_info([_ABOUT]).value if read.has_rt_info([_ABOUT]) else {}
            self._model = core.compile_model(read, "CPU", exact)
            self.inputs = tuple(sorted(one.get_any_name() for one in read.inputs))
            self.outputs = tuple(one.get_any_name() for one in read.outputs)
        except (RuntimeError, ValueError) as error:  # the latter of text that is none
            raise UserError(
                f"{self._named} cannot run this detector: {first_line(error)}"
            ) from error
        texts = about.items() if isinstance(about, Mapping) else ()
        self.about: Mapping[str, str] = {str(key): str(value) for key, value in texts}
        self._free: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def __call__(self, feed: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
        """Return what it gives, see ``Engine``."""
        try:
            request = self._free.get_nowait()
        except queue.Empty:  # each serves one thread at a time
            request = self._model.create_infer_request()
        try:
            found = request.infer(dict(feed))
            return {name: np.array(found[name]) for name in self.outputs}
        except (RuntimeError, TypeError, ValueError) as error:
            raise UserError(f"{self._named} cannot compute it: {first_line(error)}") from error
        finally:
            self._free.put(request)
