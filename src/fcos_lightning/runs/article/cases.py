"""What is compared: the methods of detection, each on the same net and data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from fcos_lightning.data.splits import DataSplit
from fcos_lightning.detector import DenseDetector
from fcos_lightning.runs.config.composed import composed
from fcos_lightning.runs.objects.detectors import untrained_detector
from fcos_lightning.structures import Images

#: Of a detector's specification what a method consists of.
PARTS = ("grid", "head", "assigner", "loss", "decoder")


@dataclass(frozen=True, eq=False)
class Case:
    """A way of detecting that is compared.

    Attributes:
        words: of a command line, that make it differ from the others.
        detector: without weights.
    """

    words: tuple[str, ...]
    detector: DenseDetector

    @property
    def name(self) -> str:
        """The case for people: its method, and what is changed of it."""
        return case_name(self.words)


def case_name(words: Sequence[str]) -> str:
    """Return the words of a case for people."""
    named = [word.removeprefix("method=") for word in words if word.startswith("method=")]
    more = [word.rsplit(".", 1)[-1] for word in words if not word.startswith("method=")]
    return " ".join((*named, *more))


def cases_of(fixed: Sequence[str], cases: Sequence[Sequence[str]], split: DataSplit) -> list[Case]:
    """Return the detector of each case.

    Args:
        fixed: words that all have.
        cases: words of each.
        split: whose classes they have.

    Raises:
        UserError: if one cannot be made.
    """
    made = []
    for words in cases:
        with composed("train", [*fixed, *words]) as config:
            made.append(Case(tuple(words), untrained_detector(config, split)))
    return made


def hyperparameters(detector: DenseDetector) -> dict[str, Any]:
    """Count what each part of a method lets one choose.

    Returns:
        By part the number of its ``options``, which are the fields of its dataclass, and of the
        ``numbers`` in them: those that are set, each of a list; and the sum of both.
    """
    counts: dict[str, Any] = {}
    for part in PARTS:
        fields = {k: v for k, v in (detector.spec.get(part) or {}).items() if k != "name"}
        counts[part] = {"options": len(fields), "numbers": sum(map(_numbers, fields.values()))}
    counts["all"] = {
        key: sum(counts[part][key] for part in PARTS) for key in ("options", "numbers")
    }
    return counts


def _numbers(value: object) -> int:
    if isinstance(value, list | tuple):
        return sum(map(_numbers, value))
    return int(isinstance(value, int | float) and not isinstance(value, bool))


def size_of_net(detector: DenseDetector, size_hw: tuple[int, int]) -> tuple[int, float]:
    """Return the parameters, and 10^9 multiply-adds for one image of a size."""
    image = torch.empty(3, *size_hw, dtype=torch.uint8, device="meta")
    images = Images.pad([image], detector.size_multiple, detector.pad_beyond).to("meta")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        detector.eval()(images)
    parameters = sum(one.numel() for one in detector.parameters())
    return parameters, counter.get_total_flops() / 2e9
