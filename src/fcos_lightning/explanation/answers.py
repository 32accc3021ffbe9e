"""What the label mapping of a whole data set comes to, summed image by image.

Nothing here grows with the data set but the list of the boxes that nobody answers for.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from fcos_lightning.explanation.mapping import Mapped

#: Why no point answers for a box: it is gone at this size, no point may have it, or all that may
#: have it answer for others.
TOO_SMALL, NO_POINT, OTHER_BOX = "too_small", "no_point", "other_box"


@dataclass(frozen=True)
class Unanswered:
    """A box that no point answers for.

    Attributes:
        image: position of its image.
        row: which of the image's annotated boxes.
        reason: one of the three above.
        by: the boxes of the image that have the points it claims.
    """

    image: int
    row: int
    reason: str
    by: tuple[int, ...] = ()


@dataclass
class LevelCounts:
    """Sums over images of one level.

    Attributes:
        points: of all images.
        positive: of those, which answer for a box.
        ambiguous: which several boxes claim.
        classes: which boxes of several classes claim.
        boxes: that have a point of this level or more; a box may have points of several levels.
        unused: images in which no point of the level answers for a box.
    """

    points: int = 0
    positive: int = 0
    ambiguous: int = 0
    classes: int = 0
    boxes: int = 0
    unused: int = 0


@dataclass
class Answers:
    """Sums over the images of a data set.

    Attributes:
        levels: the finest first; made with the first image.
        images: that were added.
        boxes: that are to be found.
        unanswered: those of them that no point answers for.
        ignored: points that are neither positive nor background.
        complete: whether every claim was told, see ``Mapped``.
    """

    levels: list[LevelCounts] = field(default_factory=list)
    images: int = 0
    boxes: int = 0
    unanswered: list[Unanswered] = field(default_factory=list)
    ignored: int = 0
    complete: bool = True

    @property
    def best_recall(self) -> float | None:
        """The share of boxes that a point answers for (FCOS, section 4.1); None without boxes."""
        return 1 - len(self.unanswered) / self.boxes if self.boxes else None

    def add(
        self, image: int, mapped: Mapped, labels: Tensor, rows: Tensor, annotated: int
    ) -> list[Unanswered]:
        """Take in an image.

        Args:
            image: its position.
            mapped: its mapping.
            labels: ``[G]`` class of each box that was mapped.
            rows: ``[G]`` which of the annotated boxes these are.
            annotated: boxes that are to be found, those that are too small once resized among them.

        Returns:
            Its boxes that no point answers for, by their rows.
        """
        level = mapped.levels()
        count = len(mapped.points.strides)
        if not self.levels:
            self.levels = [LevelCounts() for _ in range(count)]
        several = mapped.claimants() > 1
        mixed = several_classes(mapped, labels)
        at = level[mapped.positive]
        held = set(zip(at.tolist(), mapped.box.tolist(), strict=True))
        for number, sums in enumerate(self.levels):
            here = level == number
            positive = int((at == number).sum())
            sums.points += mapped.points.per_level[number]
            sums.positive += positive
            sums.ambiguous += int((several & here).sum())
            sums.classes += int((mixed & here).sum())
            sums.boxes += sum(place == number for place, _ in held)
            sums.unused += positive == 0
        found = unanswered(image, mapped, rows, annotated)
        self.images += 1
        self.boxes += annotated
        self.unanswered += found
        self.ignored += mapped.ignored
        self.complete &= mapped.complete
        return found


def several_classes(mapped: Mapped, labels: Tensor) -> Tensor:
    """Return which points boxes of several classes claim, ``[P]`` bool.

    Args:
        mapped: of an image.
        labels: ``[G]``.
    """
    points = len(mapped.points.xy)
    of_claim = labels[mapped.claim_box]
    least = of_claim.new_full((points,), torch.iinfo(of_claim.dtype).max)
    most = of_claim.new_full((points,), -1)
    least = least.scatter_reduce(0, mapped.claim_point, of_claim, "amin")
    most = most.scatter_reduce(0, mapped.claim_point, of_claim, "amax")
    return most > least


def unanswered(image: int, mapped: Mapped, rows: Tensor, annotated: int) -> list[Unanswered]:
    """Return the boxes of an image that no point answers for, by their rows.

    Args:
        image: its position.
        mapped: its mapping.
        rows: ``[G]`` which of the annotated boxes were mapped; ascending.
        annotated: how many there are.
    """
    names = rows.tolist()
    answered = {names[box] for box in set(mapped.box.tolist())}
    owner = dict(zip(mapped.positive.tolist(), mapped.box.tolist(), strict=True))
    claimed: dict[int, set[int]] = {}
    for point, box in zip(mapped.claim_point.tolist(), mapped.claim_box.tolist(), strict=True):
        if point in owner:  # somebody's own assigner may leave it to nobody
            claimed.setdefault(names[box], set()).add(names[owner[point]])
    there = set(names)
    found = []
    for row in range(annotated):
        if row in answered:
            continue
        by = tuple(sorted(claimed.get(row, ())))
        reason = TOO_SMALL if row not in there else OTHER_BOX if by else NO_POINT
        found.append(Unanswered(image, row, reason, by))
    return found
