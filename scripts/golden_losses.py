"""The label mapping and the losses against what a source's own code computed of the same scenes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from fcos_lightning.detector import assign, fcos_loss, make_points
from fcos_lightning.structures import Prediction, Target
from plain_sources.difference import by_point

STRIDES = (8, 16, 32, 64, 128)

#: Where a file differs from the official code's; their names for the three losses are in order.
OPTIONS: dict[str, dict[str, Any]] = {
    "targets_official": {},
    "targets_adelaidet_iou": {"quality": "iou"},
    "targets_rosinality": {"divide_by": "positives_and_images"},
}


@dataclass(frozen=True)
class LossDifference:
    """What is apart, in all of a file's cases.

    Attributes:
        name: of the file.
        cases: how many there are; ``losses`` of them have outputs to take losses of.
        losses: see ``cases``.
        labels: points that have another label.
        loss: largest relative difference of a loss.
        gradient: likewise of the norm of a level's gradients.
    """

    name: str
    cases: int
    losses: int
    labels: int
    loss: float
    gradient: float

    def row(self) -> str:
        """Return a line of the table."""
        return (
            f"| {self.name} | {self.cases} | {self.labels} | {self.losses} | {self.loss:.1e} | "
            f"{self.gradient:.1e} |"
        )


def compare_losses(file: Path) -> LossDifference:
    """Compare with all cases of a file of golden losses."""
    cases = torch.load(file, weights_only=True)
    labels, loss, gradient, with_outputs = 0, [0.0], [0.0], 0
    for case in cases:
        sizes = [(-(-case["height"] // s), -(-case["width"] // s)) for s in STRIDES]
        points = make_points(sizes, STRIDES)
        targets = [Target(image["boxes"], image["labels"]) for image in case["targets"]]
        assignment = assign(points, targets, center_radius=case["radius"] or None)
        expected = torch.cat([level.view(len(targets), -1) for level in case["labels"]], dim=1)
        labels += int((assignment.labels != expected).sum())
        if "cls" not in case:
            continue
        with_outputs += 1
        maps = {k: [level.clone().requires_grad_() for level in case[k]] for k in _OUTPUTS}
        cls, ltrb, quality = (by_point(maps[key]) for key in _OUTPUTS)
        in_strides = case["norm_reg_targets"]
        ltrb_px = ltrb * points.stride[:, None] if in_strides else ltrb
        found = fcos_loss(
            Prediction(cls, ltrb_px, quality[..., 0]),
            assignment,
            points,
            box_loss=case["iou_loss"],
            box_epsilon="official",
            box_units="strides" if in_strides else "pixels",
            **OPTIONS[file.stem],
        )
        theirs = case["losses"].values()
        loss += [_apart(a.item(), b) for a, b in zip(found.terms.values(), theirs, strict=True)]
        found.total.backward()  # type: ignore[no-untyped-call]
        for key, norms in case["grad_norms"].items():
            for level, norm in zip(maps[key], norms, strict=True):
                assert level.grad is not None
                gradient.append(_apart(level.grad.norm().item(), norm))
    return LossDifference(file.stem, len(cases), with_outputs, labels, max(loss), max(gradient))


_OUTPUTS = ("cls", "reg", "ctr")


def _apart(ours: float, theirs: float) -> float:
    return abs(ours - theirs) / max(abs(theirs), 1e-6)
