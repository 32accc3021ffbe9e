"""``build_fcos``: from a few choices to a detector; every other number is derived."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, Literal, get_args, get_origin, get_type_hints

from torch import nn

from fcos_lightning.arguments import check_arguments
from fcos_lightning.detector.assign import assign
from fcos_lightning.detector.backbone import Backbone, StagedBackbone, build_backbone
from fcos_lightning.detector.decode import decode
from fcos_lightning.detector.fcos import FCOS
from fcos_lightning.detector.fpn import FPN
from fcos_lightning.detector.head import Head
from fcos_lightning.detector.loss import fcos_loss
from fcos_lightning.errors import UserError

#: torchvision's ImageNet statistics on the 0 to 255 scale, RGB.
IMAGENET_INPUT = {
    "mean": [123.675, 116.28, 103.53],
    "std": [58.395, 57.12, 57.375],
    "channel_order": "rgb",
}

Choice = Mapping[str, Any]


def build_fcos(
    *,
    num_classes: int | None = None,
    class_names: Sequence[str] | None = None,
    category_ids: Sequence[int] | None = None,
    backbone: Choice | nn.Module | None = None,
    fpn: Choice | nn.Module | None = None,
    head: Choice | nn.Module | None = None,
    assigner: Choice | Callable[..., Any] | None = None,
    loss: Choice | Callable[..., Any] | None = None,
    decoder: Choice | Callable[..., Any] | None = None,
    input: Choice | None = None,
    point_offset: float = 0.5,
    point_spacing: Literal["stride", "image"] = "stride",
) -> FCOS:
    """Return a detector; without arguments but the classes, the official improved R-50.

    Each part is either a mapping of that part's options, or the part itself.

    Args:
        num_classes: ``C``; may be left out where ``class_names`` are given.
        class_names: one per label.
        category_ids: one per label, the ids of the data set.
        backbone: options of ``build_backbone``, or a module with ``.channels`` and ``.strides``.
        fpn: options of ``FPN`` (its inputs are derived from the backbone).
        head: options of ``Head`` (its inputs are derived from the FPN).
        assigner: options of ``assign``, or a callable of points and targets. Size ranges that are
            not given are derived: a level of stride s answers for sizes from 4s to 8s, the finest
            for all below and the coarsest for all above, which on P3 to P7 is the paper's choice.
        loss: options of ``fcos_loss``, or a callable of prediction, assignment, points and
            normalisers.
        decoder: options of ``decode``, or a callable of prediction, points and sizes.
        input: ``mean``, ``std`` (0 to 255 scale) and ``channel_order`` that the backbone expects;
            those not given are what its ``.input`` says, as timm's do, else ``IMAGENET_INPUT``.
        point_offset: see ``make_points``.
        point_spacing: of a level's points: its ``stride``, or ``image``: image size // map size
            (torchvision).

    Raises:
        UserError: if an option is unknown or the parts do not fit each other.
    """
    if num_classes is None:
        if class_names is None:
            raise UserError("build_fcos needs num_classes or class_names")
        num_classes = len(class_names)
    if class_names is not None and len(class_names) != num_classes:
        raise UserError(f"{len(class_names)} class names but num_classes={num_classes}")
    if category_ids is not None and len(category_ids) != num_classes:
        raise UserError(f"{len(category_ids)} category ids but num_classes={num_classes}")
    if point_spacing not in ("stride", "image"):
        raise UserError(f"model.point_spacing={point_spacing}: give one of stride, image")
    parts = {
        "backbone": backbone,
        "fpn": fpn,
        "head": head,
        "assigner": assigner,
        "loss": loss,
        "decoder": decoder,
        "input": input,
    }
    spec = _spec(parts)
    spec |= {
        "num_classes": num_classes,
        "class_names": None if class_names is None else list(class_names),
        "category_ids": None if category_ids is None else list(category_ids),
        "point_offset": point_offset,
        "point_spacing": point_spacing,
    }

    built_backbone = _part("backbone", backbone, build_backbone)
    if not isinstance(built_backbone, Backbone):
        raise UserError(
            f"model.backbone: {type(built_backbone).__name__} has no .channels and .strides; "
            "a backbone declares both"
        )
    expected = getattr(built_backbone, "input", IMAGENET_INPUT)
    if expected != IMAGENET_INPUT:
        # Built again by another version of timm, its weights still need what they learnt with.
        spec["input"] = _plain({**expected, **(input or {})})
    built_fpn = _part("fpn", fpn, FPN, built_backbone.channels, built_backbone.strides)
    if isinstance(built_backbone, StagedBackbone) and isinstance(built_fpn, FPN):
        built_backbone.drop_after(built_fpn.last_index)
    strides = tuple(built_fpn.strides)
    built_head = _part("head", head, Head, built_fpn.channels, num_classes, strides)
    if isinstance(built_head, Head) and built_head.quality_on == "none":
        # Nothing has learnt what their other choices would use.
        loss = loss if callable(loss) else {**(loss or {}), "quality": "none"}
        decoder = decoder if callable(decoder) else {**(decoder or {}), "score": "class"}
    ranges = None if callable(assigner) else (assigner or {}).get("size_ranges")
    chosen_ranges = _size_ranges(ranges, strides)
    return FCOS(
        built_backbone,  # type: ignore[arg-type]  # a module that satisfies the protocol
        built_fpn,
        built_head,
        assigner=_function("assigner", assigner, assign, 2, size_ranges=chosen_ranges),
        loss=_function("loss", loss, fcos_loss, 4),
        decoder=_function("decoder", decoder, decode, 3),
        class_names=class_names,
        category_ids=category_ids,
        point_offset=point_offset,
        point_spacing=point_spacing,
        spec=spec,
        **_input(input, expected),
    )


def _spec(parts: Mapping[str, Any]) -> dict[str, Any]:
    """Keep what is plain; a part that is code is named, for the message when it is missed."""
    spec: dict[str, Any] = {}
    for key, value in parts.items():
        if value is None or isinstance(value, Mapping):
            spec[key] = _plain(value)
        else:
            named = getattr(value, "func", value)
            name = getattr(named, "__qualname__", type(named).__qualname__)
            spec.setdefault("custom", {})[key] = f"{getattr(named, '__module__', '')}.{name}"
    if spec.get("backbone"):
        # A checkpoint brings its weights along: building it again must fetch nothing.
        spec["backbone"]["weights"] = None
    return spec


def _plain(value: Any) -> Any:  # noqa: ANN401  # a tree of plain values, whatever it is
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(item) for item in value]
    return value


def _part(
    key: str,
    choice: Choice | nn.Module | None,
    factory: Callable[..., Any],
    *derived: Any,  # noqa: ANN401
) -> Any:  # noqa: ANN401
    """Make a part of its options, or take it as it is."""
    if isinstance(choice, nn.Module):
        return choice
    _check_options(key, choice, factory, len(derived))
    check_arguments(factory, choice or {}, f"model.{key}")
    return factory(*derived, **(choice or {}))


def _function(
    key: str,
    choice: Choice | Callable[..., Any] | None,
    function: Callable[..., Any],
    given_by_detector: int,
    **derived: Any,  # noqa: ANN401
) -> Callable[..., Any]:
    """Bind options to our function, or take the user's as it is."""
    if callable(choice):
        return choice
    _check_options(key, choice, function, given_by_detector)
    plain = {option: value for option, value in (choice or {}).items() if option not in derived}
    check_arguments(function, plain, f"model.{key}")
    # A misspelt word would otherwise be the last branch of some ``if``, hours into a training.
    hints = get_type_hints(function)
    for option, value in (choice or {}).items():
        words = get_args(hints[option]) if get_origin(hints[option]) is Literal else (value,)
        if value not in words:
            raise UserError(f"model.{key}.{option}={value}: give one of {', '.join(words)}")
    return partial(function, **{**(choice or {}), **derived})


def _check_options(
    key: str, choice: Choice | None, factory: Callable[..., Any], derived: int
) -> None:
    parameters = inspect.signature(factory).parameters
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        return
    known = [name for name, p in list(parameters.items())[derived:] if p.default is not p.empty]
    for option in choice or {}:
        if option not in known:
            raise UserError(f"model.{key}.{option}: no such option; there are {', '.join(known)}")


def _size_ranges(
    given: Sequence[Sequence[float]] | None, strides: Sequence[int]
) -> tuple[tuple[float, float], ...]:
    if given is None:
        bounds = [-1.0, *(8.0 * stride for stride in strides[:-1]), math.inf]
        return tuple(pairwise(bounds))
    if len(given) != len(strides):
        raise UserError(
            f"model.assigner.size_ranges: {len(given)} ranges for {len(strides)} levels"
        )
    return tuple((float(low), float(high)) for low, high in given)


def _input(choice: Choice | None, expected: Choice) -> dict[str, Any]:
    unknown = set(choice or {}) - set(IMAGENET_INPUT)
    if unknown:
        raise UserError(
            f"model.input.{min(unknown)}: no such option; there are {', '.join(IMAGENET_INPUT)}"
        )
    chosen: dict[str, Any] = {**expected, **(choice or {})}
    if chosen["channel_order"] not in ("rgb", "bgr"):
        raise UserError(
            f"model.input.channel_order={chosen['channel_order']}: give one of rgb, bgr"
        )
    for key in ("mean", "std"):
        if len(chosen[key]) != 3:
            raise UserError(f"model.input.{key}={list(chosen[key])}: give one number per channel")
    return chosen
