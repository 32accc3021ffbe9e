"""What computes a graph: arrays in, arrays out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fcos_lightning.errors import UserError

BACKENDS = ("torch", "onnx", "openvino")
#: Of files that ``fcos-convert`` writes, and what runs them unless something else is asked for.
ENGINE_OF = {".onnx": "onnx", ".xml": "openvino"}


class Engine(Protocol):
    """A graph that is ready to run; several threads may call it at a time.

    Attributes:
        callers: how many calls at a time it was made for, each with its share of torch's threads.
        about: what stands beside the graph in its file.
        inputs: names of what it takes.
        outputs: names of what it gives.
    """

    callers: int
    about: Mapping[str, str]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def __call__(self, feed: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
        """Return what it gives, by name.

        Raises:
            UserError: if it cannot compute that.
        """


def is_file_for_engines(path: str | Path) -> bool:
    """Tell by its name whether a file is one that ``fcos-convert`` writes for other programs."""
    return Path(path).suffix.lower() in ENGINE_OF


def backend_for(path: str | Path, given: str) -> str:
    """Return what is to run a checkpoint or a converted file.

    Args:
        path: of it, or the name of a published checkpoint.
        given: one of ``BACKENDS``, or ``auto``: torch, and of a converted file its own engine.

    Raises:
        UserError: if there is no such backend, or it does not run such files.
    """
    if given not in ("auto", *BACKENDS):
        raise UserError(f"backend={given}: give auto, {', '.join(BACKENDS[:-1])} or {BACKENDS[-1]}")
    if not is_file_for_engines(path):
        return "torch" if given == "auto" else given
    suffix = Path(path).suffix.lower()
    if given == "torch" or (given == "onnx" and suffix == ".xml"):
        what = "an OpenVINO model" if suffix == ".xml" else "an ONNX model"
        raise UserError(
            f"backend={given}: {path} is {what}; leave backend out, or give the checkpoint that it "
            "was made of"
        )
    return ENGINE_OF[suffix] if given == "auto" else given
