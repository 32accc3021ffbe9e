"""Mapping and losses of each method, forward and backward, beside FCOS's."""

from __future__ import annotations

from dataclasses import fields, replace

import hydra
import torch
from torch import Tensor

from benchmarks.losses import Case as Boxes
from benchmarks.measure import Figure, Result, alternate, peak_mb
from fcos_lightning.detector import DenseDetector
from fcos_lightning.runs.config.composed import config_dir
from fcos_lightning.runs.objects.instantiate import make
from fcos_lightning.structures import Points, Prediction, Targets

TITLE = "mapping and losses of a method, forward and backward"

IMAGES, SIZE_HW, CLASSES, BOXES = 16, (800, 1088), 80, 50
CHANNELS = 8


class Case:
    """A prediction of a method for a batch of images, and boxes.

    Args:
        method: a file in ``conf/method/``.
        targets: of the images.
    """

    def __init__(self, method: str, targets: Targets) -> None:
        torch.manual_seed(0)
        small = [f"model.fpn.channels={CHANNELS}", "model.head.num_convs=1"]
        with hydra.initialize_config_dir(str(config_dir()), version_base="1.3"):
            config = hydra.compose(
                "train", [f"method={method}", "model=r18", "model.backbone.weights=null", *small]
            )
        names = tuple(f"class {label}" for label in range(CLASSES))
        detector = make(config, "model", class_names=names, category_ids=tuple(range(CLASSES)))
        assert isinstance(detector, DenseDetector)
        self.detector, self.targets = detector, targets
        self.points: Points = detector.grid(SIZE_HW)
        with torch.no_grad():
            maps = [torch.randn(IMAGES, CHANNELS, *size) for size in self.points.feature_sizes]
            self.prediction: Prediction = detector.head(maps)

    def __call__(self) -> list[Tensor]:
        """Return the gradients of all that is predicted."""
        made = {one.name: getattr(self.prediction, one.name) for one in fields(self.prediction)}
        leaves = {
            name: value.detach().requires_grad_()
            for name, value in made.items()
            if value is not None
        }
        prediction = replace(self.prediction, **leaves)
        assignment = self.detector.assign(self.points, self.targets, prediction)
        losses = self.detector.loss(prediction, assignment, self.points)
        found = torch.autograd.grad(losses.total, list(leaves.values()), allow_unused=True)
        return [one for one in found if one is not None]


def run(rounds: int) -> Result:
    """Measure 16 images of 800x1088 with 80 classes and 50 boxes, method by method."""
    targets = Targets.stack(Boxes(IMAGES, SIZE_HW, CLASSES, BOXES).targets)
    fcos = Case("fcos", targets)
    of_fcos = peak_mb(fcos)
    figures, more = [], []
    methods = sorted(file.stem for file in (config_dir() / "method").glob("*.yaml"))
    for method in methods:
        if method in ("fcos", "fcos_small"):  # the latter differs by a constant
            continue
        case = Case(method, targets)
        ours, theirs = alternate(case, fcos, rounds)
        figures.append(Figure(f"{method}, {BOXES} boxes", "fcos", "s", ours, theirs, target=0.5))
        memory = peak_mb(case)
        figures.append(
            Figure(f"{method}, peak memory above the inputs", "fcos", "MB", [memory], [of_fcos])
        )
        times = len(case.points.xy) / len(fcos.points.xy)
        if times > 1:
            more.append(f"{method} {len(case.points.xy):,} ({times:.1f} times as many)")
        del case
    size = "x".join(map(str, SIZE_HW))
    note = (
        f"{IMAGES} images of {size}, {CLASSES} classes: points and boxes as in the row of losses; "
        "a target of 0.5x is at most twice as long as FCOS."
    )
    predictions = (
        f"Where an image has more predictions than FCOS's {len(fcos.points.xy):,}, the time is of "
        f"all of them: {', '.join(more)}."
    )
    return Result(figures, [note, predictions], [])
