"""Boxes to ignore: their points are neither positive nor background, whatever the assigner."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from fcos_lightning.structures import Assignment, Points, Target, Targets


@torch.no_grad()
def pass_over(
    assignment: Assignment, points: Points, targets: Targets | Sequence[Target]
) -> Assignment:
    """Leave the points inside of boxes to ignore out of classification, unless they are positive.

    A crowd that is annotated as one box, or an object too difficult to ask for, is no background:
    a detector that finds something there is not wrong. On every level all points inside count,
    edges excluded, and of an anchor its center.

    Args:
        assignment: of ``B`` images, by any assigner, which sees no boxes to ignore.
        points: of all levels.
        targets: ground truth with ``ignored_xyxy``; without, the assignment comes back as it is.
    """
    if not isinstance(targets, Targets):
        targets = Targets.stack(targets)
    if targets.ignored_xyxy is None:
        return assignment
    x, y = points.xy.unbind(dim=1)
    inside = torch.zeros_like(assignment.positive)
    # Box by box: there are few, and no tensor holds a number for each point and box.
    for box in targets.ignored_xyxy.unbind(dim=1):
        x1, y1, x2, y2 = box.T[..., None]
        inside |= (x > x1) & (x < x2) & (y > y1) & (y < y2)
    inside &= ~assignment.positive
    if assignment.ignored is not None:
        inside |= assignment.ignored
    return replace(assignment, ignored=inside)
