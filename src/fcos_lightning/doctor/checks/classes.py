"""Classes: numbered and named as they should be, and enough of each.

Legend: ``C`` classes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from fcos_lightning.data.readers.values import spelt
from fcos_lightning.doctor.check import Check, Examined, ExaminedSet
from fcos_lightning.doctor.findings import Finding
from fcos_lightning.evaluation.detections import counted_boxes
from fcos_lightning.printing import class_label
from fcos_lightning.reports.advice import FEW_BOXES

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: A share of images differs between two sets if it does by this factor, and by so many standard
#: deviations more than chance would have it.
_FACTOR, _DEVIATIONS = 2.0, 4.0


class OffByOne(Check):
    """Numbers of classes that begin at 1 where the list begins at 0, or the other way round."""

    code = "class.off_by_one"
    severity = "error"
    title = "data sets whose numbers of classes are off by one"
    advice = "shift the numbers in the annotations, or add what is missing to the list of classes"

    def __call__(self, data: Examined) -> Iterator[Finding]:
        """Yield one at most."""
        ids = data.train.split.truth.category_ids
        names = [name for one in data.sets for name in one.heard.unknown]
        if len(ids) < 1 or list(ids) != list(range(ids[0], ids[0] + len(ids))):
            return
        unknown = {int(name) for name in names if name.lstrip("-").isdigit()}
        used = _boxes(data) > 0
        if unknown == {ids[-1] + 1} and not used[0]:
            yield Finding(
                f"the classes are {ids[0]} to {ids[-1]}, those of the boxes {ids[0] + 1} to "
                f"{ids[-1] + 1}: every box has the class before its own"
            )
        elif unknown == {ids[0] - 1} and not used[-1]:
            yield Finding(
                f"the classes are {ids[0]} to {ids[-1]}, those of the boxes {ids[0] - 1} to "
                f"{ids[-1] - 1}: every box has the class behind its own"
            )


class UnusedClass(Check):
    """A class that no box has."""

    code = "class.unused"
    severity = "warning"
    title = "classes that no box has"
    advice = "remove them from the list, or see whether their boxes were lost or named otherwise"
    free = True

    def __call__(self, data: Examined) -> Iterator[Finding]:
        """Yield each."""
        for label in np.flatnonzero(_boxes(data) == 0).tolist():
            yield Finding(f"{class_label(data.class_names[label])} has no box in any set")


class NothingToLearn(Check):
    """A training set without a box."""

    code = "class.nothing_to_learn"
    severity = "error"
    title = "training sets without a single box"
    advice = "see that the right annotations are read, and annotate objects in them"
    free = True

    def __call__(self, data: Examined) -> Iterator[Finding]:
        """Yield one at most."""
        if not counted_boxes(data.train.split.truth).any():
            yield Finding("not one box to learn from", data.train.name)


class RareClass(Check):
    """A class of few boxes to learn from."""

    code = "class.rare"
    severity = "note"
    title = f"classes of fewer than {FEW_BOXES} boxes to learn from"
    advice = "more images of these help most"
    free = True

    def __call__(self, data: Examined) -> Iterator[Finding]:
        """Yield each, the rarest first."""
        boxes = counted_boxes(data.train.split.truth)
        used = _boxes(data) > 0
        for label in np.argsort(boxes, kind="stable").tolist():
            if boxes[label] < FEW_BOXES and used[label]:
                count = "1 box" if boxes[label] == 1 else f"{boxes[label]} boxes"
                said = f"{class_label(data.class_names[label])}: {count}"
                yield Finding(said, data.train.name)


class NotLearnt(Check):
    """A class that is measured and that nothing is learnt of."""

    code = "class.not_learnt"
    severity = "warning"
    title = "classes that are measured on, and of which the training set has no box"
    advice = "move some of their images to the training set"
    free = True

    def __call__(self, data: Examined) -> Iterator[Finding]:
        """Yield each."""
        learnt = counted_boxes(data.train.split.truth)
        for one in data.sets[1:]:
            measured = counted_boxes(one.split.truth)
            for label in np.flatnonzero((learnt == 0) & (measured > 0)).tolist():
                name, count = class_label(data.class_names[label]), measured[label]
                yield Finding(f"{name}: {count} boxes here, none to learn from", one.name)


class ClassShift(Check):
    """A class that is far more frequent in one set than in the other."""

    code = "class.shift"
    severity = "warning"
    title = "classes that are far more frequent in one set than in training"
    advice = "draw the sets anew, so that each is like the other"
    free = True

    def __call__(self, data: Examined) -> Iterator[Finding]:
        """Yield each class of each other set, by a test of two proportions of images."""
        images, count = _images_with(data.train), len(data.train.split)
        for one in data.sets[1:]:
            others, number = _images_with(one), len(one.split)
            share, other = images / count, others / number
            pooled = (images + others) / (count + number)
            spread = np.sqrt(pooled * (1 - pooled) * (1 / count + 1 / number))
            far = np.abs(share - other) > _DEVIATIONS * spread
            apart = np.maximum(share, other) > _FACTOR * np.minimum(share, other)
            for label in np.flatnonzero(far & apart & (images > 0)).tolist():
                yield Finding(
                    f"{class_label(data.class_names[label])}: on {other[label]:.1%} of images, in "
                    f"training on {share[label]:.1%}",
                    one.name,
                )


class SameName(Check):
    """Two classes of which the names differ in capitals, spaces or dashes alone."""

    code = "class.same_name"
    severity = "warning"
    title = "classes whose names are another's, but for capitals, spaces or dashes"
    advice = "give them one name, if they are one class"
    free = True

    def __call__(self, data: Examined) -> Iterator[Finding]:
        """Yield each but the first of a name."""
        alike: dict[str, list[str]] = defaultdict(list)
        for name in data.class_names:
            alike[spelt(name)].append(class_label(name))
        for names in alike.values():
            for name in names[1:]:
                yield Finding(f"{name} and {names[0]}")


def _boxes(data: Examined) -> NDArray[np.int64]:
    """Boxes of each class in all sets, ignored ones too, ``[C]``."""
    counts = [
        np.bincount(one.split.truth.labels, minlength=len(data.class_names)) for one in data.sets
    ]
    total: NDArray[np.int64] = np.sum(counts, axis=0)
    return total


def _images_with(one: ExaminedSet) -> NDArray[np.int64]:
    """Images that have a box of each class, ``[C]``."""
    truth = one.split.truth
    classes = len(truth.class_names)
    pairs = np.unique(one.image_of_box * classes + truth.labels)
    return np.bincount(pairs % classes, minlength=classes)
