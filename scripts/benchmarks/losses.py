"""Assignment and losses, forward and backward, beside torchvision's."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torchvision.models.detection import fcos_resnet50_fpn
from torchvision.models.detection.anchor_utils import AnchorGenerator

from benchmarks.measure import Figure, Growth, Result, alternate, median, peak_mb
from fcos_lightning import Target
from fcos_lightning.detector import assign, fcos_loss, make_points
from fcos_lightning.structures import Points, Prediction

TITLE = "assignment and losses, forward and backward"

STRIDES = (8, 16, 32, 64, 128)
#: torchvision's own ranges are closed differently; both as it has them.
RULES = {"range_ends": "exclusive"}
LOSS = {"box_loss": "giou", "box_epsilon": "plain", "box_weight": "none"}


class Case:
    """Predictions and boxes of a batch, and both ways to the loss's gradients.

    Args:
        images: ``B``.
        size_hw: of the padded batch in pixels.
        classes: ``C``.
        boxes: of each image.
    """

    def __init__(self, images: int, size_hw: tuple[int, int], classes: int, boxes: int) -> None:
        generator = torch.Generator().manual_seed(0)
        height, width = size_hw
        self.sizes = [(-(-height // s), -(-width // s)) for s in STRIDES]
        self.points: Points = make_points(self.sizes, STRIDES, offset=0.0)
        count = len(self.points.xy)
        self.cls = torch.randn(images, count, classes, generator=generator) - 4.6
        self.strides = torch.rand(images, count, 4, generator=generator) * 4 + 0.1
        self.quality = torch.randn(images, count, generator=generator)
        self.targets = []
        for _ in range(images):
            side = torch.exp(torch.rand(boxes, 2, generator=generator) * 3.5 + 2.5)
            side = torch.minimum(side, torch.tensor([width - 2.0, height - 2.0]))
            start = torch.rand(boxes, 2, generator=generator) * (
                torch.tensor([float(width), float(height)]) - side
            )
            xyxy = torch.cat([start, start + side], dim=1)
            labels = torch.randint(0, classes, (boxes,), generator=generator)
            self.targets.append(Target(xyxy, labels))
        self._torchvision(size_hw, classes)

    def _torchvision(self, size_hw: tuple[int, int], classes: int) -> None:
        model = fcos_resnet50_fpn(weights=None, weights_backbone=None, num_classes=classes)
        self.peer_loss = model.compute_loss
        self.per_level = [h * w for h, w in self.sizes]
        generator = AnchorGenerator(tuple((s,) for s in STRIDES), ((1.0,),) * len(STRIDES))
        generator.set_cell_anchors(torch.float32, torch.device("cpu"))
        steps = [[torch.tensor(s), torch.tensor(s)] for s in STRIDES]
        anchors = torch.cat(generator.grid_anchors([list(s) for s in self.sizes], steps))
        self.anchors = [anchors] * len(self.targets)
        self.peer_targets = [{"boxes": t.boxes_xyxy, "labels": t.labels} for t in self.targets]

    def leaves(self) -> list[Tensor]:
        """Return fresh leaves: class logits, distances in strides, quality logits."""
        made = (self.cls, self.strides, self.quality)
        return [tensor.detach().requires_grad_() for tensor in made]

    def ours(self) -> tuple[Tensor, list[Tensor]]:
        """Return the loss and the gradients of the leaves, by ours."""
        cls, strides, quality = leaves = self.leaves()
        prediction = Prediction(cls, strides * self.points.stride[:, None], quality)
        assignment = assign(self.points, self.targets, **RULES)
        total = fcos_loss(prediction, assignment, self.points, **LOSS).total
        return total.detach(), list(torch.autograd.grad(total, leaves))

    def peer(self) -> tuple[Tensor, list[Tensor]]:
        """Return the loss and the gradients of the leaves, by torchvision's."""
        cls, strides, quality = leaves = self.leaves()
        outputs = {
            "cls_logits": cls,
            "bbox_regression": strides,
            "bbox_ctrness": quality[..., None],
        }
        losses = self.peer_loss(self.peer_targets, outputs, self.anchors, self.per_level)
        total = torch.stack(list(losses.values())).sum()
        return total.detach(), list(torch.autograd.grad(total, leaves))

    def check(self) -> float:
        """Return the largest relative difference of loss and gradients.

        Raises:
            RuntimeError: if they differ by more than rounding explains.
        """
        (ours, our_grads), (peer, peer_grads) = self.ours(), self.peer()
        difference = float((ours - peer).abs() / peer)
        for mine, theirs in zip(our_grads, peer_grads, strict=True):
            difference = max(difference, float((mine - theirs).norm() / theirs.norm()))
        if difference > 1e-4:
            raise RuntimeError(f"losses or gradients differ by {difference:.1e}")
        return difference


def run(rounds: int) -> Result:
    """Measure 16 images of 800x1088 with 80 classes, and how the cost grows."""
    figures, notes = [], []
    for boxes in (7, 50):
        case = Case(16, (800, 1088), 80, boxes)
        what = f"16 images of 800x1088 ({len(case.points.xy):,} points), 80 classes, {boxes} boxes"
        notes.append(
            f"{boxes} boxes: loss and gradients are torchvision's within {case.check():.1e}."
        )
        ours, theirs = alternate(case.ours, case.peer, rounds)
        figures.append(Figure(what, "torchvision", "s", ours, theirs, target=4))
        memory = [peak_mb(case.ours)], [peak_mb(case.peer)]
        figures.append(
            Figure(f"peak memory above the inputs, {boxes} boxes", "torchvision", "MB", *memory, 3)
        )
        del case
    growths = [
        _grow("boxes of an image", (1, 5, 20, 100, 500), lambda n: Case(2, (800, 1088), 80, n)),
        _grow("classes", (1, 10, 80, 400, 1203), lambda n: Case(2, (512, 512), n, 7)),
        _grow(
            "pixels of an image",
            tuple(side**2 for side in (256, 512, 1024, 1536)),
            lambda n: Case(2, (math.isqrt(n), math.isqrt(n)), 80, 7),
        ),
    ]
    return Result(figures, notes, growths)


def _grow(along: str, sizes: tuple[int, ...], make: Callable[[int], Case]) -> Growth:
    ours_s, theirs_s = [], []
    for size in sizes:
        case = make(size)
        ours, theirs = alternate(case.ours, case.peer, rounds=5)
        ours_s.append(median(ours))
        theirs_s.append(median(theirs))
    return Growth("assignment and losses", along, sizes, "torchvision", ours_s, theirs_s)
