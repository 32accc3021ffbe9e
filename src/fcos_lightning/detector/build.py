"""From a few choices to a detector; every other number is derived."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from torch import nn

from fcos_lightning.backbones.build import Backbone, StagedBackbone, build_backbone
from fcos_lightning.detector.dense import DenseDetector
from fcos_lightning.detector.fpn import FPN, FPNOptions
from fcos_lightning.detector.grid import Grid
from fcos_lightning.detector.lookup import Choice, is_ours, made, name_of, part_of
from fcos_lightning.detector.parts import Assigner, Decoder, HeadOptions, Loss, Part
from fcos_lightning.errors import UserError

#: torchvision's ImageNet statistics on the 0 to 255 scale, RGB.
IMAGENET_INPUT = {
    "mean": [123.675, 116.28, 103.53],
    "std": [58.395, 57.12, 57.375],
    "channel_order": "rgb",
}

#: How sides of a batch are rounded up, see ``DenseDetector``; the first is the default.
_PADDINGS = ("multiple", "beyond")


def build_detector(
    *,
    num_classes: int | None = None,
    class_names: Sequence[str] | None = None,
    category_ids: Sequence[int] | None = None,
    backbone: Choice | nn.Module | None = None,
    fpn: Choice | nn.Module | None = None,
    grid: Choice | None = None,
    head: Choice | HeadOptions | nn.Module | None = None,
    assigner: Choice | Assigner | None = None,
    loss: Choice | Loss | None = None,
    decoder: Choice | Decoder | None = None,
    input: Choice | None = None,
) -> DenseDetector:
    """Return a detector; without arguments but the classes, the official improved FCOS on R-50.

    Each part is either a mapping of that part's options, with the part's ``name`` among them where
    it is not FCOS's, or the part itself.

    Args:
        num_classes: ``C``; may be left out where ``class_names`` are given.
        class_names: one per label.
        category_ids: one per label, the ids of the data set.
        backbone: options of ``build_backbone``, or a module with ``.channels`` and ``.strides``.
        fpn: options of ``FPN`` (its inputs are derived from the backbone).
        grid: options of ``Grid`` (its strides are the FPN's).
        head: options of a head in ``detector/heads/`` (its inputs are derived from the FPN).
        assigner: options of an assigner in ``detector/assigners/``.
        loss: options of a loss in ``detector/losses/``.
        decoder: options of a decoder in ``detector/decoders/``.
        input: ``mean``, ``std`` (0 to 255 scale) and ``channel_order`` that the backbone expects,
            and ``padding``, see ``DenseDetector``; those not given are what its ``.input`` says, as
            timm's do, else ``IMAGENET_INPUT``.

    Raises:
        UserError: if an option is unknown or the parts do not fit each other.
    """
    if num_classes is None:
        if class_names is None:
            raise UserError("build_detector needs num_classes or class_names")
        num_classes = len(class_names)
    if class_names is not None and len(class_names) != num_classes:
        raise UserError(f"{len(class_names)} class names but num_classes={num_classes}")
    if category_ids is not None and len(category_ids) != num_classes:
        raise UserError(f"{len(category_ids)} category ids but num_classes={num_classes}")

    fpn_options = None if isinstance(fpn, nn.Module) else made(FPNOptions, _of(fpn))
    if isinstance(backbone, nn.Module):
        built_backbone: nn.Module = backbone
    else:
        options = _of(backbone)
        if "finest_stride" in options:
            raise UserError("model.backbone.finest_stride: no such option; model.fpn says it")
        finest = 3 if fpn_options is None else min(fpn_options.finest, 3)
        built_backbone = build_backbone(**options, finest_stride=2 ** max(finest, 0))
    if not isinstance(built_backbone, Backbone):
        raise UserError(
            f"model.backbone: {type(built_backbone).__name__} has no .channels and .strides; "
            "a backbone declares both"
        )
    built_fpn: Any = fpn
    if fpn_options is not None:
        built_fpn = fpn_options.build(built_backbone.channels, built_backbone.strides)
    if isinstance(built_backbone, StagedBackbone) and isinstance(built_fpn, FPN):
        built_backbone.drop_after(built_fpn.last_index)
    channels, strides = built_fpn.channels, tuple(built_fpn.strides)
    pooled_from = getattr(built_fpn, "pooled_from", None)  # a plain attribute of some
    built_grid = made(Grid, _of(grid), strides=strides, pooled_from=pooled_from)
    head_options: HeadOptions | None = None
    if isinstance(head, nn.Module):
        built_head = head
    else:
        head_options = part_of(HeadOptions, head)
        built_head = head_options.build(channels, num_classes, built_grid)
    parts = (part_of(Assigner, assigner), part_of(Loss, loss), part_of(Decoder, decoder))
    for part in parts:
        part.check(strides)
    expected = getattr(built_backbone, "input", IMAGENET_INPUT)
    spec = {
        **_spec(backbone, fpn_options or built_fpn, head_options or built_head, *parts),
        "grid": built_grid.spec(),
        # Built again by another version of timm, its weights still need what they learnt with.
        "input": _plain(input if expected == IMAGENET_INPUT else {**expected, **_of(input)}),
        "num_classes": num_classes,
        "class_names": None if class_names is None else list(class_names),
        "category_ids": None if category_ids is None else list(category_ids),
    }
    return DenseDetector(
        built_backbone,
        built_fpn,
        built_head,
        grid=built_grid,
        assigner=parts[0],
        loss=parts[1],
        decoder=parts[2],
        class_names=class_names,
        category_ids=category_ids,
        spec=spec,
        **_input(input, expected),
    )


def build_fcos(
    *,
    point_offset: float | None = None,
    point_spacing: Literal["stride", "image"] | None = None,
    **parts: Any,  # noqa: ANN401  # as build_detector has them
) -> DenseDetector:
    """Return an FCOS: ``build_detector``, whose defaults are FCOS's, under its first name.

    Args:
        point_offset: ``grid.offset``, as version 0.1 called it.
        point_spacing: ``grid.spacing``, likewise.
        **parts: see ``build_detector``.

    Raises:
        UserError: if an option is unknown or the parts do not fit each other.
    """
    chosen = {"offset": point_offset, "spacing": point_spacing}
    chosen = {key: value for key, value in chosen.items() if value is not None}
    if chosen:
        parts["grid"] = {**(parts.get("grid") or {}), **chosen}
    return build_detector(**parts)


def _spec(
    backbone: Choice | nn.Module | None, fpn: FPNOptions | nn.Module, head: object, *parts: Part
) -> dict[str, Any]:
    """Keep what is plain; a part that is code is named, for the message when it is missed."""
    spec: dict[str, Any] = {}
    custom: dict[str, str] = {}
    if isinstance(backbone, nn.Module):
        custom["backbone"] = name_of(backbone)
    else:
        # A checkpoint brings its weights along: building it again must fetch nothing.
        spec["backbone"] = {**_plain(_of(backbone)), "weights": None}
    for key, part in (("fpn", fpn), ("head", head), *((part.kind, part) for part in parts)):
        if isinstance(part, Part) and is_ours(part):
            spec[key] = part.spec()
        else:
            custom[key] = name_of(part)
    return {**spec, **({"custom": custom} if custom else {})}


def _of(choice: Choice | None) -> dict[str, Any]:
    return dict(choice or {})


def _plain(value: Any) -> Any:  # noqa: ANN401  # a tree of plain values, whatever it is
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(item) for item in value]
    return value


def _input(choice: Choice | None, expected: Choice) -> dict[str, Any]:
    chosen: dict[str, Any] = {"padding": _PADDINGS[0], **expected, **(choice or {})}
    options = (*IMAGENET_INPUT, "padding")
    unknown = set(choice or {}) - {*options}
    if unknown:
        raise UserError(f"model.input.{min(unknown)}: no such option; there are", choices=options)
    for key, words in (("channel_order", ("rgb", "bgr")), ("padding", _PADDINGS)):
        if chosen[key] not in words:
            raise UserError(f"model.input.{key}={chosen[key]}: give one of {', '.join(words)}")
    for key in ("mean", "std"):
        if len(chosen[key]) != 3:
            raise UserError(f"model.input.{key}={list(chosen[key])}: give one number per channel")
    return chosen
