"""What the tests of the commands share."""

from __future__ import annotations

import json
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


#: Long enough to find some of it: with nothing found, every AP is the same.
FINDING = (*SMALL, "schedule.max_epochs=2", "model.decoder.score_threshold=0.01")


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


def assert_measured_alike(command: Command, run: Path, alone: Path) -> None:
    """One process that tests the checkpoint finds the figures that the run's processes found."""
    words = (f"ckpt={run}/checkpoints/best.ckpt", "trainer=default", "trainer.accelerator=cpu")
    result = command("test", *words, f"run_dir={alone}")
    assert result.code == 0, result.err
    for name in ("metrics.json", "predictions.json"):
        assert json.loads((run / name).read_text()) == json.loads((alone / name).read_text()), name
    assert json.loads((run / "metrics.json").read_text())["AP"] > 0
