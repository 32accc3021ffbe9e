"""What a detector says of the labels of a data set."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fcos_lightning.doctor.check import Examined, ExaminedSet
from fcos_lightning.evaluation.analysis.label_scores import judged
from fcos_lightning.evaluation.detections import DetectionTable
from fcos_lightning.evaluation.matches import matched
from fcos_lightning.inference import Predictor


def judge(data: Examined, predictor: Predictor, advance: Callable[[], None]) -> Examined:
    """Let a detector find objects in all images, and score the labels by what it finds.

    Args:
        data: whose files were looked at; its classes are the detector's.
        predictor: of the detector.
        advance: called after each image.
    """
    return replace(data, sets=[_judged(one, predictor, advance) for one in data.sets])


def _judged(one: ExaminedSet, predictor: Predictor, advance: Callable[[], None]) -> ExaminedSet:
    truth, facts = one.split.truth, one.facts
    if facts is None or not one.split.annotated:
        return one
    images = np.flatnonzero(facts.seen & (facts.sizes_hw == truth.sizes_hw).all(axis=1)).tolist()

    def pixels() -> Iterator[NDArray[np.uint8]]:
        for image in images:
            yield one.split.image(image)

    found = []
    for image, detections in zip(images, predictor.stream(pixels()), strict=True):
        found.append((int(truth.image_ids[image]), detections))
        advance()
    matches = matched(truth, DetectionTable.from_detections(found))
    return replace(one, judged=judged(matches))


def in_numbers(data: Examined) -> list[dict[str, Any]]:
    """Return for each set which detections labels were judged by; null: by none."""
    return [
        {
            "split": one.name,
            "detections": len(one.judged.matches.table),
            "sure": round(one.judged.sure, 4) if np.isfinite(one.judged.sure) else None,
            "likely": round(one.judged.likely, 4),
        }
        for one in data.sets
        if one.judged is not None
    ]
