"""What a check is, and what it looks at.

Legend: ``N`` images of a set, ``M`` boxes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from fcos_lightning.data.complaints import Heard
from fcos_lightning.data.finding.usual_names import Role
from fcos_lightning.data.images import LARGEST_PX
from fcos_lightning.data.splits import DataSplit
from fcos_lightning.doctor.copies import alike_pictures, same_files
from fcos_lightning.doctor.findings import MOST_KEPT, Finding, More, Severity
from fcos_lightning.evaluation.detections import image_of_box
from fcos_lightning.printing import class_label

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fcos_lightning.doctor.copies import Place
    from fcos_lightning.doctor.image_facts import ImageFacts
    from fcos_lightning.doctor.learning import Learnt
    from fcos_lightning.evaluation.analysis.label_scores import Judged


@dataclass(frozen=True, eq=False)
class ExaminedSet:
    """A set of images.

    Attributes:
        role: what it is for.
        split: its images and boxes.
        heard: what the reader complained of.
        facts: of its image files; None: they were not looked at.
        judged: what a detector says of its labels; None: none was asked.
    """

    role: Role
    split: DataSplit
    heard: Heard = field(default_factory=Heard)
    facts: ImageFacts | None = None
    judged: Judged | None = None

    @property
    def name(self) -> str:
        """Its name."""
        return self.split.name

    def file(self, image: int) -> str:
        """Return the path of an image."""
        return self.split.images.name(image)

    @cached_property
    def image_of_box(self) -> NDArray[np.int64]:
        """``[M]``."""
        return image_of_box(self.split.truth)

    @cached_property
    def sized(self) -> NDArray[np.bool_]:
        """``[M]`` bool: boxes of images whose size is known."""
        sizes_hw = self.split.truth.sizes_hw[self.image_of_box]
        known: NDArray[np.bool_] = (sizes_hw[:, 0] > 0) & (sizes_hw[:, 1] > 0)
        return known

    def box(self, row: int) -> tuple[float, float, float, float]:
        """Return the corners of a box that was kept."""
        x1, y1, x2, y2 = (round(float(one), 2) for one in self.split.truth.boxes_xyxy[row])
        return x1, y1, x2, y2

    def class_of(self, row: int) -> str:
        """Return the class of a box that was kept, as people should see it."""
        return class_label(self.split.truth.class_names[self.split.truth.labels[row]])

    def place(self, row: int) -> tuple[str, str]:
        """Return in which file a box that was kept stands, and where in it."""
        image = int(self.image_of_box[row])
        if self.heard.boxes is not None:
            return parted(self.heard.boxes.where(int(self.heard.boxes.kept[row])))
        number = row - int(self.split.truth.first_box[image]) + 1
        return self.file(image), f"box {number}"

    def at_box(self, row: int, message: str) -> Finding:
        """Return a finding about a box that was kept."""
        file, place = self.place(row)
        image = int(self.image_of_box[row])
        return Finding(message, self.name, file, place, image, self.box(row))

    def at_boxes(
        self, rows: NDArray[np.int64], say: Callable[[int], str]
    ) -> Iterator[Finding | More]:
        """Yield findings about boxes that were kept, and how many more there are.

        Args:
            rows: of the boxes.
            say: what is wrong with a box.
        """
        for row in rows[:MOST_KEPT].tolist():
            yield self.at_box(row, say(row))
        if len(rows) > MOST_KEPT:
            yield More(len(rows) - MOST_KEPT, self.name)

    def at_image(self, image: int, message: str) -> Finding:
        """Return a finding about an image."""
        return Finding(message, self.name, self.file(image), "", image)


def parted(where: str) -> tuple[str, str]:
    """Part what a reader says of a place, as ``labels/a.txt, line 3``, into file and place."""
    for mark in (", line ", ": image "):
        file, found, place = where.rpartition(mark)
        if found:
            return file, f"{found[2:]}{place}"
    return where, ""


@dataclass(frozen=True, eq=False)
class Examined:
    """A data set as checks see it.

    Attributes:
        root: its folder, or that of the names of what is at an address; None where it has none.
        address: on object storage; empty where it lies on this machine.
        format: how its boxes stand in files: ``coco``, ``voc``, ``yolo``, ``csv``, or empty.
        sets: that training and evaluation would use.
        max_pixels: larger images are refused.
        alone: annotation files without an image.
        learnt: which boxes of the training set can be learnt; None: that was not looked at.
    """

    sets: Sequence[ExaminedSet]
    root: Path | None = None
    address: str = ""
    format: str = ""
    max_pixels: int = LARGEST_PX
    alone: Sequence[str] = ()
    learnt: Learnt | None = None

    @cached_property
    def same_files(self) -> list[list[Place]]:
        """Groups of files of the same bytes."""
        return same_files(self.sets)

    @cached_property
    def alike_pictures(self) -> list[list[Place]]:
        """Groups of pictures that look alike, of each file but one copy."""
        return alike_pictures(self.sets)

    @property
    def class_names(self) -> tuple[str, ...]:
        """One per label."""
        return self.sets[0].split.truth.class_names

    @property
    def train(self) -> ExaminedSet:
        """The set to learn from."""
        return self.sets[0]


class Check(ABC):
    """Finds one kind of thing that is wrong.

    Attributes:
        code: stable: scripts look for it.
        severity: see ``Severity``.
        title: what is found, in the plural.
        advice: what to do.
        free: whether it costs no more than a look at arrays that training holds anyway; neither
            files are opened, nor is it asked what a reader left out.
    """

    code: ClassVar[str]
    severity: ClassVar[Severity]
    title: ClassVar[str]
    advice: ClassVar[str]
    free: ClassVar[bool] = False

    @abstractmethod
    def __call__(self, data: Examined) -> Iterator[Finding | More]:
        """Yield what is wrong, one by one; of very many the first, and how many more there are."""
