"""The numbers of a whole data set, as ``explain.json`` holds them and the page shows them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fcos_lightning.data.splits import DataSplit
from fcos_lightning.explanation.answers import NO_POINT, OTHER_BOX, TOO_SMALL, Answers
from fcos_lightning.explanation.looking import Looked, Predicted
from fcos_lightning.explanation.missed import REASONS
from fcos_lightning.explanation.settings import Setting
from fcos_lightning.reports.contents import rounded


@dataclass
class Course:
    """What is kept of all images while they are looked at one by one.

    Attributes:
        answers: sums of the mapping.
        unanswered: ``[N]`` boxes of each image that nobody answers for.
        ambiguous: ``[N]`` ambiguous points of each image.
        missed: ``[N]`` missed objects of each image.
        reasons: how often an object was missed for which reason.
        found: objects that were found.
        predicted: images that the detector looked at.
        unreadable: files that were passed over.
    """

    answers: Answers
    unanswered: NDArray[np.int64]
    ambiguous: NDArray[np.int64]
    missed: NDArray[np.int64]
    reasons: dict[str, int] = field(default_factory=dict)
    found: int = 0
    predicted: int = 0
    unreadable: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, images: int) -> Course:
        """Return one before the first of so many images."""
        none = np.zeros((3, images), dtype=np.int64)
        return cls(Answers(), none[0], none[1], none[2])

    def of_images(self, images: NDArray[np.int64]) -> Course:
        """Return what is known of some images alone; the sums are those of all."""
        return Course(
            self.answers, self.unanswered[images], self.ambiguous[images], self.missed[images]
        )

    def add(self, looked: Looked, predicted: Predicted | None) -> None:
        """Take in an image."""
        image = looked.image
        lost = self.answers.add(
            image, looked.mapped, looked.labels, looked.sized.rows, len(looked.wanted)
        )
        self.unanswered[image] = len(lost)
        self.ambiguous[image] = int((looked.mapped.claimants() > 1).sum())
        if predicted is None:
            return
        self.predicted += 1
        self.missed[image] = len(predicted.missed)
        self.found += len(looked.wanted) - len(predicted.missed)
        for one in predicted.missed:
            self.reasons[one.reason] = self.reasons.get(one.reason, 0) + 1


def chosen_images(course: Course, boxes: NDArray[np.int64], count: int) -> list[int]:
    """Return the images that are shown: telling ones, and others evenly over the data set.

    A third have the most objects that are missed or that nobody answers for, a third the most
    ambiguous points; what tells most comes first.

    Args:
        course: of all images.
        boxes: ``[N]`` of each image; one without is not shown while others are left.
        count: how many.
    """
    worst = course.missed if course.missed.any() else course.unanswered
    chosen: dict[int, None] = {}
    share = max(count // 3, 1)
    for weight in (worst, course.ambiguous):
        order = np.argsort(-weight, kind="stable")
        for image in order[weight[order] > 0].tolist():
            if len(chosen) >= count or share <= 0:
                break
            if image not in chosen:
                chosen[image] = None
                share -= 1
        share = max(count // 3, 1)
    for pool in (np.flatnonzero(boxes > 0), np.arange(len(boxes))):
        rest = [image for image in pool.tolist() if image not in chosen]
        wanted = min(count - len(chosen), len(rest))
        for place in np.linspace(0, len(rest) - 1, max(wanted, 0)).round().astype(int).tolist():
            chosen[rest[place]] = None
    return list(chosen)


def level_name(stride: int) -> str:
    """Return the level of a stride: P3 has 8."""
    return f"P{stride.bit_length() - 1}" if stride & (stride - 1) == 0 else f"stride {stride}"


def level_rows(answers: Answers, strides: tuple[int, ...]) -> list[dict[str, Any]]:
    """Return a row for each level."""
    return [
        {
            "level": level_name(stride),
            "stride": stride,
            "points": one.points,
            "positive": one.positive,
            "without_use": one.points - one.positive,
            "without_use_share": _share(one.points - one.positive, one.points),
            "ambiguous": one.ambiguous,
            "ambiguous_share": _share(one.ambiguous, one.positive),
            "several_classes": one.classes,
            "several_classes_share": _share(one.classes, one.positive),
            "boxes": one.boxes,
            "images_without_use": one.unused,
        }
        for stride, one in zip(strides, answers.levels, strict=True)
    ]


def mapping_numbers(answers: Answers, strides: tuple[int, ...]) -> dict[str, Any]:
    """Return what the mapping of a data set, or of some images, comes to."""
    levels = level_rows(answers, strides)
    sums = {
        key: sum(row[key] for row in levels)
        for key in ("points", "positive", "without_use", "ambiguous", "several_classes")
    }
    reasons = dict.fromkeys((TOO_SMALL, NO_POINT, OTHER_BOX), 0)
    for one in answers.unanswered:
        reasons[one.reason] += 1
    recall = answers.best_recall
    return {
        "images": answers.images,
        "boxes": answers.boxes,
        "best_possible_recall": None if recall is None else round(recall, 6),
        "unanswered": len(answers.unanswered),
        "unanswered_reasons": reasons,
        **sums,
        "without_use_share": _share(sums["without_use"], sums["points"]),
        "ambiguous_share": _share(sums["ambiguous"], sums["positive"]),
        "several_classes_share": _share(sums["several_classes"], sums["positive"]),
        "passed_over": answers.ignored,
        "levels": levels,
    }


def unanswered_rows(course: Course, split: DataSplit) -> list[dict[str, Any]]:
    """Return the boxes that nobody answers for, with their files."""
    truth = split.truth
    rows = []
    for one in course.answers.unanswered:
        here = truth.rows(one.image)
        wanted = np.flatnonzero(~truth.ignored[here])
        place = here.start + int(wanted[one.row])
        rows.append(
            {
                "image": one.image,
                "file": str(truth.file_names[one.image]),
                "id": int(truth.image_ids[one.image]),
                "number": int(wanted[one.row]),
                "class": int(truth.labels[place]),
                "box": rounded(truth.boxes_xyxy[place], 1),
                "reason": one.reason,
                "by": [int(wanted[other]) for other in one.by],
            }
        )
    return rows


def missed_numbers(course: Course, threshold: float) -> dict[str, Any]:
    """Return how many objects were missed, and for which reasons."""
    return {
        "threshold": threshold,
        "images": course.predicted,
        "objects": course.found + sum(course.reasons.values()),
        "missed": sum(course.reasons.values()),
        "reasons": [
            {"reason": reason, "meaning": meaning, "count": course.reasons.get(reason, 0)}
            for reason, meaning in REASONS.items()
        ],
    }


def setting_numbers(setting: Setting, answers: Answers) -> dict[str, Any]:
    """Return a setting, and what it comes to on the images that are shown."""
    mapping = setting.mapping
    grid, assigner = mapping.grid, mapping.assigner
    return {
        "changed": setting.changed,
        "value": setting.value,
        "method": setting.method,
        "target": setting.target,
        "strides": list(setting.strides),
        "offset": grid.offset,
        "per_cell": grid.per_cell,
        "anchors": grid.anchors_wh().tolist() if grid.per_cell > 1 or grid.anchor_scales else None,
        "shorter_side": setting.shorter,
        "longer_side": setting.longer,
        "assigner": _plain(assigner.spec()),
        "numbers": mapping_numbers(answers, setting.strides),
    }


def _plain(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of an assigner in words: JSON has none for infinity."""
    return {key: str(value) if isinstance(value, list) else value for key, value in spec.items()}


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 6) if whole else None
