"""Prediction on a folder with a large net, beside detection alone."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import torch

from benchmarks.measure import Figure, Result, alternate, median
from benchmarks.peers import resnet_pair
from benchmarks.predict import Case

TITLE = "prediction on a folder of photographs, R-50 at 800x1333, processor"

#: Of two seconds each; what is read and written beside them takes milliseconds.
IMAGES = 24
SIDES = (800, 1333)


def run(rounds: int) -> Result:
    """Measure both in turn, with a thread for each processor."""
    torch.set_num_threads(os.cpu_count() or 1)
    with tempfile.TemporaryDirectory() as folder:
        case = Case(Path(folder), IMAGES, resnet_pair, SIDES)
        whole_s, alone_s = alternate(case.whole, case.alone, min(rounds, 3))
    whole, alone = ([IMAGES / one for one in took] for took in (whole_s, alone_s))
    figure = Figure("", "detection alone", "images/s", whole, alone, 0.9, True)
    return Result([figure], [f"{IMAGES} files; detection alone: {median(alone):.2f} images/s."])
