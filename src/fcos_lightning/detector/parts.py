"""What a detector is made of: the parts that a method of detection brings along.

A part is a frozen dataclass with ``__call__``. Its fields are its options, and its name and its
fields are all that a checkpoint keeps of it. The name is that of its file: ``assigners/fcos.py``
holds the assigner ``fcos``. A part of your own is a class that derives from one of those below; a
checkpoint does not carry its code, so it is handed over again where the checkpoint is loaded.

Legend: ``B`` images, ``P`` points of all levels, ``C`` classes.
"""

from __future__ import annotations

import math
import types
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, ClassVar, Literal, Protocol, Union, get_args, get_origin, get_type_hints

import torch
from torch import Tensor, nn

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

_LARGEST = 2**1000


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
            if not _fits(value, hint) or value in (math.inf, -math.inf):
                raise UserError(f"model.{self.kind}.{option}={_shown(value)}: give {_words(hint)}")
            object.__setattr__(self, option, value)

    @classmethod
    def _options(cls) -> dict[str, Any]:
        """Names of the options, and their types."""
        return dict(_hints(cls))  # type: ignore[arg-type]  # a class is hashable whatever its objects are

    def check(self, strides: Sequence[int]) -> None:
        """Refuse a detector whose levels have these strides, if the part cannot serve it.

        Raises:
            UserError: saying why.
        """

    def spec(self) -> dict[str, Any]:
        """Return the name and the options: plain values, of which the part is made again."""
        named = {"name": self.name} if self.name else {}
        return {**named, **{one: _plain(getattr(self, one)) for one in self._options()}}


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

    @abstractmethod
    def build(self, in_channels: int, num_classes: int, levels: Levels) -> nn.Module:
        """Return a head for maps ``[B, in_channels, H, W]`` and ``C`` classes."""


@cache
def _hints(part: type[Part]) -> dict[str, Any]:
    """Of a class once: functions such as ``decode`` make a part at each call."""
    hints = get_type_hints(part)
    return {one.name: hints[one.name] for one in fields(part)}


def plain_to(value: Any, hint: Any) -> Any:  # noqa: ANN401  # a tree of plain values
    """Return a value as the type wants it, where YAML and JSON have no word for that.

    Lists become tuples, whole numbers become fractions, and ``"inf"`` a number; what does not fit
    stays as it is.
    """
    choices = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    if isinstance(value, str) and float in choices and value.strip("+-.").lower() == "inf":
        return float(value.replace(".", ""))
    if isinstance(value, int) and not isinstance(value, bool) and float in choices:
        # A whole number beyond float64 stays what it is, and is refused as that.
        return value if int in choices or abs(value) > _LARGEST else float(value)
    if isinstance(value, str) or not isinstance(value, Sequence):
        return value
    for choice in choices:
        if get_origin(choice) is tuple:
            inner = get_args(choice)
            kinds = [inner[0]] * len(value) if inner[-1:] == (...,) else list(inner)
            if len(kinds) == len(value):
                return tuple(plain_to(one, kind) for one, kind in zip(value, kinds, strict=True))
    return value


def _fits(value: object, hint: Any) -> bool:  # noqa: ANN401  # a type, of which there is no type
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(_fits(value, one) for one in inner)
    if origin is Literal:
        return any(value == one and type(value) is type(one) for one in inner)
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        if inner[-1:] == (...,):
            return all(_fits(one, inner[0]) for one in value)
        return len(value) == len(inner) and all(map(_fits, value, inner))
    if hint is float:  # the last of a row of sizes may be infinite, nothing else
        return isinstance(value, float) and not math.isnan(value)
    if hint in (bool, int, str):
        return type(value) is hint
    if hint is type(None):
        return value is None
    # Of somebody's own part: any type that Python can tell.
    return isinstance(value, hint) if isinstance(hint, type) else True


def _words(hint: Any) -> str:  # noqa: ANN401  # likewise
    """What may be given, in words."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return " or ".join(_words(one) for one in inner)
    if origin is Literal:
        return f"one of {', '.join(map(str, inner))}"
    if origin is tuple:
        return f"a list, each item {_words(inner[0])}"
    named = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
    return "null" if hint is type(None) else named.get(hint, str(hint))


def _shown(value: object) -> str:
    text = str(value)
    return text if len(text) <= 100 else f"{text[:100]}..."


def _plain(value: object) -> object:
    return [_plain(one) for one in value] if isinstance(value, tuple) else value
