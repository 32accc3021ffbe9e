"""Every way on which a file of weights comes into this project."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from fcos_lightning.checkpoints import Checkpoint, load_detector
from fcos_lightning.detector import FCOS
from fcos_lightning.errors import MESSAGE_CHARACTERS, UserError
from fcos_lightning.runs.config.description import offer_data_of
from fcos_lightning.training.checkpoint_io import AtomicCheckpointIO
from fcos_lightning.weights.files import read_weights


@dataclass(frozen=True)
class Answer:
    """What came of one file at one door.

    Attributes:
        kind: ``read``, ``refused``, or ``fault``.
        said: the message.
    """

    kind: str
    said: str = ""


def answer(act: Callable[[], object]) -> Answer:
    """Do something with a file; a fault is all but success and one clear line."""
    try:
        act()
    except UserError as error:
        said = str(error)
        if not said.isprintable():
            return Answer("fault", f"no single line: {said[:200]!r}")
        if len(said) > MESSAGE_CHARACTERS:
            return Answer("fault", f"{len(said)} characters: {said[:200]!r}")
        return Answer("refused", said)
    except Exception as error:  # which is what is looked for
        where = "/".join(frame.name for frame in traceback.extract_tb(error.__traceback__)[-3:])
        return Answer("fault", f"{type(error).__name__} in {where}: {str(error)[:200]!r}")
    return Answer("read")


def doors(detector: FCOS, folder: Path) -> Mapping[str, Callable[[Path], object]]:
    """Return what is done with a file, by names.

    Args:
        detector: that is filled by ``init_from``.
        folder: for what is written.
    """

    def predict(file: Path) -> object:
        return load_detector(file).detect([torch.zeros(3, 40, 50, dtype=torch.uint8)])

    def convert(file: Path) -> object:
        Checkpoint.read(file).write(folder / "out.safetensors")
        return load_detector(folder / "out.safetensors")

    return {
        "predict": predict,
        "test": lambda file: offer_data_of(Checkpoint.read(file).about),
        "convert": convert,
        "init_from": lambda file: Checkpoint.read(file).start(detector),
        "backbone.weights": read_weights,
        "resume": AtomicCheckpointIO().load_checkpoint,
    }
