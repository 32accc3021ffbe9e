"""What the tests of the commands share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

#: A data set and a net so small that a run takes seconds.
SMALL = (
    "experiment=quickstart",
    "data.train_images=24",
    "data.val_images=8",
    "data.image_px=64",
    "data.shorter_side=64",
    "data.longer_side=64",
    "data.batch_size=8",
    "data.num_workers=0",
    "model.fpn.channels=16",
    "model.head.num_convs=1",
    "callbacks.progress=null",
)


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str


Command = Callable[..., Result]


def only_run(folder: Path) -> Path:
    """The one run folder below ``folder/runs``."""
    (run,) = folder.glob("runs/*/*")
    return run
