"""From predictions to detections: threshold, top-k, boxes and NMS, beside torchvision's."""

from __future__ import annotations

import torch
from torchvision.models.detection import fcos_resnet50_fpn
from torchvision.models.detection.anchor_utils import AnchorGenerator

from benchmarks.measure import Figure, Result, alternate
from fcos_lightning.detector import decode, make_points
from fcos_lightning.structures import Detections, Prediction

TITLE = "decoding and NMS, one image of 800x1088, 80 classes"

STRIDES = (8, 16, 32, 64, 128)
SIZE = (800, 1088)
CLASSES = 80
REPEATS = 10


class Case:
    """Predictions around some objects, and both ways to their detections.

    Args:
        objects: about so many things are seen, each by the points around it.
        fuss: standard deviation of the background's logits: more candidates, the larger it is.
    """

    def __init__(self, objects: int, fuss: float) -> None:
        generator = torch.Generator().manual_seed(objects)
        sizes = [(-(-SIZE[0] // s), -(-SIZE[1] // s)) for s in STRIDES]
        self.points = make_points(sizes, STRIDES, offset=0.0)
        count = len(self.points.xy)
        stride = self.points.stride
        cls = torch.randn(1, count, CLASSES, generator=generator) * fuss - 5.5
        strides = torch.rand(1, count, 4, generator=generator) * 3 + 0.5
        for _ in range(objects):
            where = int(torch.randint(0, count, (1,), generator=generator))
            label = int(torch.randint(0, CLASSES, (1,), generator=generator))
            near = (self.points.xy - self.points.xy[where]).abs().amax(dim=1) < 2 * stride[where]
            near &= stride == stride[where]
            cls[0, near, label] += 6 * torch.rand(int(near.sum()), generator=generator)
        quality = torch.randn(1, count, generator=generator)
        self.prediction = Prediction(cls, strides * stride[:, None], quality)
        self.size_hw = torch.tensor([SIZE])

        self.model = fcos_resnet50_fpn(weights=None, weights_backbone=None, num_classes=CLASSES)
        per_level = [h * w for h, w in sizes]
        self.heads = {
            "cls_logits": list(cls.split(per_level, dim=1)),
            "bbox_regression": list(strides.split(per_level, dim=1)),
            "bbox_ctrness": list(quality[..., None].split(per_level, dim=1)),
        }
        anchors = AnchorGenerator(tuple((s,) for s in STRIDES), ((1.0,),) * len(STRIDES))
        anchors.set_cell_anchors(torch.float32, torch.device("cpu"))
        steps = [[torch.tensor(s), torch.tensor(s)] for s in STRIDES]
        self.anchors = [list(anchors.grid_anchors([list(s) for s in sizes], steps))]

    @torch.inference_mode()
    def ours(self) -> Detections:
        """Decode by ours, with torchvision's rules."""
        for _ in range(REPEATS):
            (found,) = decode(
                self.prediction,
                self.points,
                self.size_hw,
                score_threshold=0.2,
                threshold_on="score",
            )
        return found

    @torch.inference_mode()
    def peer(self) -> Detections:
        """Decode by torchvision's."""
        for _ in range(REPEATS):
            (found,) = self.model.postprocess_detections(self.heads, self.anchors, [SIZE])
        return Detections(found["boxes"], found["scores"], found["labels"])

    def check(self) -> int:
        """Return the number of detections.

        Raises:
            RuntimeError: if both do not find the same.
        """
        ours, peer = self.ours(), self.peer()
        if len(ours) != len(peer) or not torch.equal(ours.labels, peer.labels):
            raise RuntimeError("ours and torchvision detect different things")
        torch.testing.assert_close(ours.boxes_xyxy, peer.boxes_xyxy, rtol=0, atol=1e-3)
        torch.testing.assert_close(ours.scores, peer.scores, rtol=0, atol=1e-6)
        return len(ours)


def run(rounds: int) -> Result:
    """Measure few and many candidates."""
    figures, notes = [], []
    for name, case in (("few candidates", Case(5, 0.5)), ("many candidates", Case(300, 1.0))):
        notes.append(f"{name}: the same {case.check()} detections as torchvision.")
        ours, theirs = alternate(case.ours, case.peer, 2 * rounds)
        ms = [[1000 * took / REPEATS for took in both] for both in (ours, theirs)]
        figures.append(Figure(name, "torchvision", "ms", *ms, target=2))
    return Result(figures, notes)
