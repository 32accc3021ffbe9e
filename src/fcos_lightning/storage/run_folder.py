"""The names of a run's files, for all who write or read them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar


@dataclass(frozen=True)
class RunFolder:
    """A folder of one run; nothing is made by naming it.

    Attributes:
        path: of the folder.
    """

    path: Path

    #: Below ``checkpoints``: the best of all measured epochs, and the newest.
    BEST: ClassVar[str] = "best.ckpt"
    LAST: ClassVar[str] = "last.ckpt"
    #: Below the folder itself.
    METRICS: ClassVar[str] = "metrics.json"
    METRICS_CSV: ClassVar[str] = "metrics.csv"
    OWN: ClassVar[str] = "own.txt"
    #: What a run and its loggers may have made before there is a checkpoint.
    OF_A_BEGINNING: ClassVar[frozenset[str]] = frozenset(
        (
            *("config.yaml", OWN, "split.json", METRICS_CSV, "checkpoints", "previews"),
            *("tensorboard", "mlflow", "wandb"),
        )
    )

    @classmethod
    def lacking(cls, path: Path) -> str:
        """Say what is where a run's folder was to be given, and what to give, for a message."""
        if not path.exists():
            return "no such folder; give a run folder, as runs/NAME/TIME"
        run = path.parent.parent if path.parent.name == "checkpoints" else path.parent
        if cls(run).config.is_file():
            what = "a checkpoint" if path.suffix == ".ckpt" else "a file"
            return f"is {what} of a run, and no folder; give the run folder, {run}"
        return "is a file; give a run folder, as runs/NAME/TIME"

    @property
    def config(self) -> Path:
        """The configuration, resolved."""
        return self.path / "config.yaml"

    @property
    def own(self) -> Path:
        """By what this machine knows a run again that was begun with packages of the user's own."""
        return self.path / self.OWN

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.path / "checkpoints"

    @property
    def best(self) -> Path:
        """The checkpoint that is reported."""
        return self.checkpoints / self.BEST

    @property
    def last(self) -> Path:
        """The checkpoint that a stopped run goes on from."""
        return self.checkpoints / self.LAST

    @property
    def previews(self) -> Path:
        """The folder of pictures, one for each epoch."""
        return self.path / "previews"

    @property
    def metrics_csv(self) -> Path:
        """The course of the run: a row for each time something was logged."""
        return self.path / self.METRICS_CSV

    @property
    def metrics(self) -> Path:
        """The figures of the best checkpoint; with them the run is finished."""
        return self.path / self.METRICS

    @property
    def predictions(self) -> Path:
        """What the best checkpoint finds, in COCO's results format."""
        return self.path / "predictions.json"

    @property
    def test_metrics(self) -> Path:
        """The figures of the best checkpoint on the images that nothing was chosen by."""
        return self.path / "test_metrics.json"

    @property
    def test_predictions(self) -> Path:
        """What it finds on those."""
        return self.path / "test_predictions.json"

    @property
    def split(self) -> Path:
        """Which images are for training and which for validation, where a share was split off."""
        return self.path / "split.json"

    @property
    def report(self) -> Path:
        """The page for people."""
        return self.path / "report.html"

    @property
    def report_numbers(self) -> Path:
        """Every number of that page."""
        return self.path / "report.json"

    @property
    def thresholds(self) -> Path:
        """The best score threshold of each class."""
        return self.path / "thresholds.json"

    @property
    def onnx(self) -> Path:
        """The model that ``fcos-test backend=onnx`` ran."""
        return self.path / "model.onnx"

    def nonfinite(self, rank: int) -> Path:
        """The step that went wrong on a rank, for ``replay``."""
        return self.path / ("nonfinite.pt" if rank == 0 else f"nonfinite_rank{rank}.pt")
