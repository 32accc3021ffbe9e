"""What a detector is made of: the parts that a method of detection brings along.

A part is a frozen dataclass with ``__call__``. Its fields are its options, and its name and its
fields are all that a checkpoint keeps of it. The name is that of its file: ``assigners/fcos.py``
holds the assigner ``fcos``. A part of your own is a class that derives from one of those below; a
checkpoint does not carry its code, so it is handed over again where the checkpoint is loaded.

Legend: ``B`` images, ``P`` points of all levels, ``C`` classes.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor, nn

from fcos_lightning.detector.option_types import fits, hints_of, in_words, plain_of, plain_to, shown
from fcos_lightning.errors import UserError
from fcos_lightning.structures import (
    Assignment,
    Detections,
    Losses,
    Points,
    Prediction,
    Target,
    Targets,
    Totals,
)


@dataclass(frozen=True)
class Part:
    """Something with options, which are checked as soon as it is made.

    Attributes:
        kind: the key of ``build_detector`` that it stands under.
        name: of its file, for a part of this package; a part without one is somebody's own.

    Raises:
        UserError: if an option has a value that its type does not allow.
    """

    kind: ClassVar[str] = "part"
    name: ClassVar[str] = ""

    def __post_init__(self) -> None:
        for option, hint in self._options().items():
            value = plain_to(getattr(self, option), hint)
            if not fits(value, hint) or value in (math.inf, -math.inf):
                raise UserError(f"model.{self.kind}.{option}={shown(value)}: give {in_words(hint)}")
            object.__setattr__(self, option, value)

    @classmethod
    def _options(cls) -> dict[str, Any]:
        """Names of the options, and their types."""
        return dict(hints_of(cls))  # type: ignore[arg-type]  # a class is hashable whatever its objects are

    def require(self, option: str, holds: bool, wanted: str) -> None:
        """Refuse an option whose value is of its type, but not in its range.

        Args:
            option: its name.
            holds: whether the value may stand.
            wanted: what to give instead, as ``0 or more``.

        Raises:
            UserError: if it may not.
        """
        if not holds:
            raise UserError(f"model.{self.kind}.{option}={getattr(self, option)}: give {wanted}")

    def require_at_least(self, **least: int) -> None:
        """Refuse options below these numbers; one that is None is not looked at.

        Raises:
            UserError: naming the first.
        """
        for option, number in least.items():
            value = getattr(self, option)
            self.require(option, value is None or value >= number, f"{number} or more")

    def check(self, strides: Sequence[int]) -> None:
        """Refuse a detector whose levels have these strides, if the part cannot serve it.

        Raises:
            UserError: saying why.
        """

    def spec(self) -> dict[str, Any]:
        """Return the name and the options: plain values, of which the part is made again."""
        named = {"name": self.name} if self.name else {}
        return {**named, **{one: plain_of(getattr(self, one)) for one in self._options()}}


class Padded(Protocol):
    """A batch that knows its padded size: ``Images`` and ``PaddedTargets`` do."""

    @property
    def padded_size(self) -> tuple[int, int]:
        """Height and width in pixels."""

    @property
    def device(self) -> torch.device:
        """Where its tensors lie."""


@dataclass(frozen=True)
class Assigner(Part, ABC):
    """Points and targets -> which box each point answers for.

    Attributes:
        needs_prediction: whether it looks at the prediction. Such an assigner is exact over the
            ranks of a step; of accumulated batches, each is normalised by itself, since those that
            follow have not been predicted yet.
    """

    kind: ClassVar[str] = "assigner"
    needs_prediction: ClassVar[bool] = False

    @abstractmethod
    def __call__(
        self,
        points: Points,
        targets: Targets | Sequence[Target],
        prediction: Prediction | None = None,
    ) -> Assignment:
        """Return the assignment of ``B`` images.

        Args:
            points: of all levels.
            targets: ground truth, padded or one by one.
            prediction: what the head says about the same images; None where it is not needed.
        """


@dataclass(frozen=True)
class Loss(Part, ABC):
    """Prediction and assignment -> losses."""

    kind: ClassVar[str] = "loss"

    @abstractmethod
    def totals(self, assignment: Assignment) -> dict[str, Tensor]:
        """Return what the losses are divided by: this batch's part of each sum, scalars float32.

        Whoever trains sums them over the ranks and the accumulated batches of a step.
        """

    @abstractmethod
    def __call__(
        self,
        prediction: Prediction,
        assignment: Assignment,
        points: Points,
        totals: Totals | None = None,
    ) -> Losses:
        """Return the losses of a batch.

        Args:
            prediction: what the head says at each point.
            assignment: what it should say.
            points: of all levels.
            totals: what to divide by; None: ``totals`` of this batch alone.
        """


@dataclass(frozen=True)
class Decoder(Part, ABC):
    """Prediction and points -> the boxes that are reported."""

    kind: ClassVar[str] = "decoder"

    @abstractmethod
    def __call__(
        self, prediction: Prediction, points: Points, sizes_hw: Tensor
    ) -> list[Detections]:
        """Return the final boxes of each image, in pixels of the padded input.

        Args:
            prediction: of ``B`` images.
            points: of all levels.
            sizes_hw: ``[B, 2]`` size of each image without its padding.
        """

    def candidates(
        self, prediction: Prediction, points: Points, sizes_hw: Tensor
    ) -> list[Detections]:
        """Return the boxes before they suppress each other, so that views can be merged.

        Raises:
            UserError: where this decoder cannot tell.
        """
        raise UserError(
            f"test.tta: {type(self).__name__} cannot merge the detections of several views; "
            "leave test.tta away, or give it candidates() and best()"
        )

    def best(self, candidates: Detections, size_hw: Tensor) -> Detections:
        """Return those of an image's candidates that are reported, best first.

        Args:
            candidates: of one image, maybe of several views of it.
            size_hw: ``[2]`` size of the image in whose pixels they are.
        """
        return candidates


class Levels(Protocol):
    """What a head needs to know of the grid that its predictions are for."""

    @property
    def strides(self) -> tuple[int, ...]:
        """Of the levels in pixels."""

    @property
    def per_cell(self) -> int:
        """Predictions of each cell."""

    def anchors_wh(self) -> Tensor:
        """``[levels, per_cell, 2]`` width and height of the anchors in pixels."""


@dataclass(frozen=True)
class HeadOptions(Part, ABC):
    """The options of a head, and how the head is made of them.

    The head itself is a module: the maps of all levels -> ``Prediction``.
    """

    kind: ClassVar[str] = "head"

    def check_one_box(self, levels: Levels) -> None:
        """Refuse anchors, for a head that predicts one box for each cell.

        Raises:
            UserError: naming the grid's option.
        """
        if levels.per_cell != 1:
            raise UserError(
                f"model.grid.anchor_scales: the head {self.name} predicts points, no anchors"
            )

    def check_anchors(self, levels: Levels) -> None:
        """Refuse points, for a head that predicts a box for each anchor.

        Raises:
            UserError: naming the grid's option.
        """
        if not levels.anchors_wh().numel():
            raise UserError(f"model.grid.anchor_scales: the head {self.name} needs anchors")

    @abstractmethod
    def build(self, in_channels: int, num_classes: int, levels: Levels) -> nn.Module:
        """Return a head for maps ``[B, in_channels, H, W]`` and ``C`` classes."""
