"""What a label mapping comes to over a whole data set, in sums alone: many images at a time.

``answers.py`` looks at one image after the other and tells of each box; this tells only how many,
and is several times as fast. Both read the same assignment.

Legend: ``B`` images, ``G`` boxes of the image that has most, ``P`` points of all levels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fcos_lightning.data.splits import DataSplit
from fcos_lightning.detector.ignoring import pass_over
from fcos_lightning.explanation.mapping import LabelMapping
from fcos_lightning.explanation.sizes import at_size
from fcos_lightning.structures import Assignment, Points, Target

#: Points of all images that are looked at together.
_TOGETHER = 2**17


@dataclass
class Sums:
    """Sums over the images of a data set.

    Attributes:
        images: that were added.
        points: of all images: places that predict, anchors among them.
        positive: that answer for a box.
        ignored: that are neither positive nor background.
        ambiguous: that several boxes claim.
        several_classes: that boxes of several classes claim; None: not looked at.
        boxes: that are to be found, those too small once resized among them.
        answered: boxes that a point answers for.
    """

    images: int = 0
    points: int = 0
    positive: int = 0
    ignored: int = 0
    ambiguous: int = 0
    several_classes: int | None = None
    boxes: int = 0
    answered: int = 0

    @property
    def background(self) -> int:
        """Points that learn that nothing is there."""
        return self.points - self.positive - self.ignored

    @property
    def ambiguous_share(self) -> float | None:
        """Ambiguous ones of the positive points."""
        return self.ambiguous / self.positive if self.positive else None

    @property
    def several_classes_share(self) -> float | None:
        """Of the positive points those that boxes of several classes claim."""
        if self.several_classes is None or not self.positive:
            return None
        return self.several_classes / self.positive

    @property
    def best_recall(self) -> float | None:
        """The share of boxes that a point answers for (FCOS, section 4.1); None without boxes."""
        return self.answered / self.boxes if self.boxes else None


@dataclass(frozen=True, eq=False)
class SizedImage:
    """An image's boxes at the size at which a detector sees it.

    Attributes:
        target: its boxes, and those to ignore.
        size_hw: height and width of the image.
        boxes: that are annotated and to be found.
    """

    target: Target
    size_hw: tuple[int, int]
    boxes: int


def sized_images(
    split: DataSplit, images: Iterable[int], shorter: int, longer: int, ignore: bool
) -> list[SizedImage]:
    """Return images at the size of evaluation, without reading one.

    Args:
        split: with its annotations.
        images: their positions.
        shorter: side of images in pixels.
        longer: what their longer side may at most become.
        ignore: whether points of boxes to ignore are no background, see ``DetectionDataModule``.
    """
    truth, found = split.truth, []
    for image in images:
        rows = truth.rows(image)
        ignored = truth.ignored[rows]
        wanted = np.flatnonzero(~ignored)
        size = (tuple(map(int, truth.sizes_hw[image])), shorter, longer)
        sized = at_size(truth.boxes_xyxy[rows][wanted], *size)  # type: ignore[arg-type]  # two
        crowds = None
        if ignore and ignored.any():
            crowds = at_size(truth.boxes_xyxy[rows][ignored], *size).boxes_xyxy  # type: ignore[arg-type]
        labels = torch.from_numpy(truth.labels[rows][wanted])[sized.rows]
        target = Target(sized.boxes_xyxy, labels, crowds)
        found.append(SizedImage(target, sized.size_hw, len(wanted)))
    return found


@torch.no_grad()
def sums_of(mapping: LabelMapping, images: Sequence[SizedImage], by_class: bool = False) -> Sums:
    """Return the sums of a mapping that needs no prediction.

    Args:
        mapping: whose boxes claim points each for itself, where ``by_class`` is asked for.
        images: at their size.
        by_class: whether to tell points that boxes of several classes claim.
    """
    sums = Sums(several_classes=0 if by_class else None)
    for points, some in _in_batches(mapping, images):
        targets = [one.target for one in some]
        assignment = pass_over(mapping.assigner(points, targets), points, targets)
        count = len(points.xy)
        sums.images += len(some)
        sums.points += len(some) * count
        sums.positive += int(assignment.positive.sum())
        sums.ignored += 0 if assignment.ignored is None else int(assignment.ignored.sum())
        sums.ambiguous += int((assignment.claims > 1).sum())
        sums.boxes += sum(one.boxes for one in some)
        sums.answered += int(_answered(assignment, max(len(one.labels) for one in targets)))
        if by_class:
            assert sums.several_classes is not None
            mixed = [
                target
                for target, claims in zip(targets, assignment.claims, strict=True)
                if int(claims.max()) > 1 and len(torch.unique(target.labels)) > 1
            ]
            sums.several_classes += _several_classes(mapping, points, mixed)
    return sums


def _in_batches(
    mapping: LabelMapping, images: Sequence[SizedImage]
) -> Iterator[tuple[Points, list[SizedImage]]]:
    """Yield images of one padded size together, with the points that all of them have."""
    of_size: dict[tuple[tuple[int, int], ...], list[SizedImage]] = {}
    points: dict[tuple[int, int], Points] = {}
    for image in images:
        if image.size_hw not in points:
            points[image.size_hw] = mapping.points(image.size_hw)
        of_size.setdefault(points[image.size_hw].feature_sizes, []).append(image)
    for same in of_size.values():
        here = points[same[0].size_hw]
        # Those with like numbers of boxes together: a batch is padded to the largest number.
        same.sort(key=lambda one: len(one.target.labels))
        step = max(_TOGETHER // max(len(here.xy), 1), 1)
        for first in range(0, len(same), step):
            yield here, same[first : first + step]


def _answered(assignment: Assignment, boxes: int) -> Tensor:
    """Return how many boxes of all images a point answers for."""
    hit = torch.zeros(len(assignment.matched), boxes + 1, dtype=torch.bool)
    hit.scatter_(1, assignment.matched + 1, True)  # the first column is that of none
    return hit[:, 1:].sum()


def _several_classes(mapping: LabelMapping, points: Points, targets: Sequence[Target]) -> int:
    """Return how many points boxes of several classes claim: each class is mapped alone."""
    found = 0
    for target in targets:
        labels = target.labels
        masks = [labels == one for one in torch.unique(labels)]
        alone = [Target(target.boxes_xyxy[mask], labels[mask]) for mask in masks]
        claimed = mapping.assigner(points, alone).claims > 0
        found += int((claimed.sum(dim=0) > 1).sum())
    return found
