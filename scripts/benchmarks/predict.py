"""Prediction on a folder of photographs, beside detection alone and torchvision's own loop."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import nn
from torchvision.io import ImageReadMode, read_image
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from benchmarks.data import draw_images
from benchmarks.measure import Figure, Result, median, not_installed, rss_mb, seconds
from benchmarks.peers import mobilenet_pair
from fcos_lightning.detector import FCOS
from fcos_lightning.inference import Predictor
from fcos_lightning.inference.deployed.about import about_file
from fcos_lightning.inference.deployed.onnx_file import whole_onnx
from fcos_lightning.inference.deployed.smaller import in_int8
from fcos_lightning.inference.engines.opening import open_file
from fcos_lightning.inference.predicting import Wanted, callers_for, predict_into
from fcos_lightning.inference.sources import ImageFiles, find_source

TITLE = "prediction on a folder of photographs, MobileNetV2 at 240x320, processor"

IMAGES = 500
SIDES = (240, 320)
#: Of the mean image; a detector that learnt something finds about as many above .3.
BOXES = 10
#: Photographs that say how large activations become, for the file that computes with integers.
CALIBRATED_ON = 16
#: Converted files, by their names, and what runs them.
FILES = {
    "model.onnx": ("float", "onnx"),
    "model.onnx backend=openvino": ("float", "openvino"),
    "model.onnx precision=int8": ("int8", "onnx"),
    "model.onnx precision=int8 backend=openvino": ("int8", "openvino"),
}


def absent() -> str | None:
    """Say why this machine cannot run the row."""
    return not_installed("onnx", "onnxscript", "onnxruntime", "openvino")


class Case:
    """A folder of photographs, and three ways through it.

    Args:
        folder: to draw the photographs into, and to write results into.
        images: how many.
        pair: ours and torchvision's with the same weights.
        sides: to which images are resized.
    """

    def __init__(
        self,
        folder: Path,
        images: int,
        pair: Callable[[], tuple[FCOS, nn.Module]] = mobilenet_pair,
        sides: tuple[int, int] = SIDES,
    ) -> None:
        draw_images(folder / "coco", images)
        found = find_source(str(folder / "coco" / "train2017"))
        assert isinstance(found, ImageFiles)
        self.source = found
        self.count = len(found)
        self.folder = folder
        self.runs = 0
        self.detector, self.peer_model = pair()
        self.peer_model.eval()
        mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
        self.peer_model.transform = GeneralizedRCNNTransform(*sides, mean, std)
        # Fresh weights give every point much the same score: the threshold is put where a few
        # boxes of an image are above it.
        every = Predictor(self.detector.eval(), *sides, device="cpu")
        scores = torch.cat([every(path).scores for path in found.paths[:20]])
        self.least = float(scores.sort(descending=True).values[BOXES * 20])
        self.predictor = Predictor(self.detector, *sides, device="cpu", score_threshold=self.least)
        self.ready = [self.predictor.prepared(path) for path in found.paths]

    def by_files(self) -> dict[str, Predictor]:
        """Convert the detector, and return what runs each of ``FILES``."""
        sides = {"shorter_side": SIDES[0], "longer_side": SIDES[1]}
        model = whole_onnx(self.detector, about_file(self.detector, sides))
        (self.folder / "float.onnx").write_bytes(model)
        sized = [one.planes[None].numpy() for one in self.ready if one.planes.shape[1:] == SIDES]
        (self.folder / "int8.onnx").write_bytes(in_int8(model, sized[:CALIBRATED_ON]))
        callers = callers_for(self.source)
        opened = {
            name: open_file(self.folder / f"{file}.onnx", engine, "cpu", callers)
            for name, (file, engine) in FILES.items()
        }
        return {
            name: Predictor(one, *one.sides(), score_threshold=self.least)
            for name, one in opened.items()
        }

    def whole(self, draw: bool = True, by: Predictor | None = None) -> None:
        """Read, detect, draw and write, as ``fcos-predict`` does."""
        self.runs += 1
        wanted = Wanted(draw, (), False, "photographs", "model")
        out = self.folder / str(self.runs)
        done = predict_into(out, by or self.predictor, self.source, wanted)
        if done.images != self.count or done.detections == 0:
            raise RuntimeError(f"{done.images} images and {done.detections} detections")

    def alone(self) -> None:
        """Detect in images that are read and resized already."""
        for one in self.ready:
            self.predictor.detected([one])

    @torch.inference_mode()
    def peer(self) -> None:
        """Read, make floats, and detect by torchvision's, one image after the other."""
        for path in self.source.paths:
            pixels = read_image(str(path), ImageReadMode.RGB)
            self.peer_model([pixels.float() / 255])


def run(rounds: int) -> Result:
    """Measure all in turn, with a thread for each processor."""
    torch.set_num_threads(os.cpu_count() or 1)
    took: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        case = Case(Path(folder), IMAGES)
        calls: dict[str, Callable[[], None]] = {
            "alone": case.alone,
            "without drawing": lambda: case.whole(draw=False),
            "peer": case.peer,
            "whole": case.whole,
            **{name: partial(case.whole, by=one) for name, one in case.by_files().items()},
        }
        for number in range(rounds + 1):
            for way, call in calls.items():
                one = seconds(call)
                if number:  # the first warms up
                    took.setdefault(way, []).append(case.count / one)
        kilobytes = sum(path.stat().st_size for path in case.source.paths) / case.count / 1000
    alone, peer = took["alone"], took["peer"]
    figures = [
        Figure("", "torchvision's loop", "images/s", took["whole"], peer, 2, True),
        Figure("against detection alone", "detection alone", "images/s", took["whole"], alone, 0.9,
               True),
        Figure("without drawing", "detection alone", "images/s", took["without drawing"], alone,
               0.9, True),
        *(Figure(name, "torchvision's loop", "images/s", took[name], peer,
                 2 if "int8" in name else None, True) for name in FILES),
    ]  # fmt: skip
    notes = [
        f"{case.count} files of {kilobytes:.0f} kB, about {BOXES} boxes drawn on each; "
        f"torchvision's loop draws and writes nothing. Load of the machine at the end: "
        f"{os.getloadavg()[0]:.1f}; resident memory: {rss_mb():.0f} MB. Detection alone was "
        f"{median(alone):.0f} images/s."
    ]
    return Result(figures, notes)
