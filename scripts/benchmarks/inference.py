"""From an image to its boxes on a processor, beside torchvision with the same weights."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import torch
from torch import nn
from torchvision.models.detection import fcos_resnet50_fpn

from benchmarks.measure import Figure, Result, alternate
from fcos_lightning import load_detector
from fcos_lightning.detector import FCOS, for_inference
from fcos_lightning.errors import UserError
from fcos_lightning.inference import OnnxDetector, export_onnx
from fcos_lightning.structures import Detections

TITLE = "inference, R-50, one image of 800x1088, on the processor"

SIZE = (800, 1088)


class Case:
    """torchvision's detector, and ours with its weights, which are random."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.model = fcos_resnet50_fpn(weights=None, weights_backbone=None).eval()
        # Ours resizes nothing either; all the rest of its transform stays.
        self.model.transform.resize = lambda image, target=None: (image, target)
        for module in self.model.modules():
            # Fresh weights give the same faint answer everywhere.
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, a=1)
            elif isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.weight, 0.3, 0.7)
        nn.init.constant_(self.model.head.classification_head.cls_logits.bias, -5.0)
        self.image = torch.randint(0, 256, (3, *SIZE), dtype=torch.uint8)
        self.pixels = self.image.float() / 255
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "fcos.pth"
            torch.save(self.model.state_dict(), file)
            self.detector = load_detector(file)

    @torch.inference_mode()
    def peer(self) -> Detections:
        """Detect by torchvision's."""
        (found,) = self.model([self.pixels])
        return Detections(found["boxes"], found["scores"], found["labels"])

    def ours(self, detector: FCOS) -> Detections:
        """Detect by one of ours."""
        (found,) = detector.detect([self.image])
        return found

    def check(self, detector: FCOS) -> int:
        """Return the number of detections.

        Raises:
            RuntimeError: if one of either has no counterpart in the other.
        """
        return same(self.ours(detector), self.peer())


def same(found: Detections, wanted: Detections) -> int:
    """Return the number of detections.

    Raises:
        RuntimeError: if one of either has no counterpart in the other.
    """
    apart_px = (found.boxes_xyxy[:, None] - wanted.boxes_xyxy).abs().amax(dim=-1)
    off = (found.scores[:, None] - wanted.scores).abs()
    alike = (apart_px < 0.05) & (off < 1e-4) & (found.labels[:, None] == wanted.labels)
    if not len(found) == len(wanted) > 0 or not (alike.any(0).all() and alike.any(1).all()):
        raise RuntimeError("ours and torchvision detect different things")
    return len(found)


def run(rounds: int) -> Result:
    """Measure ours in torch and in ONNX Runtime, with a thread for each processor."""
    torch.set_num_threads(os.cpu_count() or 1)
    case = Case()
    ways: dict[str, FCOS] = {"as fcos-test does": for_inference(case.detector)}
    notes = []
    try:
        ways["as fcos-test backend=onnx does"] = OnnxDetector(
            case.detector, export_onnx(case.detector)
        )
    except UserError as error:
        notes.append(f"not measured: {error}")
    figures = []
    for name, detector in ways.items():
        notes.append(f"{name}: the same {case.check(detector)} detections as torchvision.")
        ours, theirs = alternate(lambda one=detector: case.ours(one), case.peer, rounds)
        figures.append(Figure(name, "torchvision", "s", ours, theirs, target=1.35))
    return Result(figures, notes)
