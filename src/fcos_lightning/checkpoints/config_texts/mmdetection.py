"""What a configuration of mmdetection says about its detector, in our terms.

An option that a section of the text leaves out has mmdetection's default; of a section that is not
there at all nothing is known, so that the recipe's choice stands.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fcos_lightning.checkpoints.config_texts.python_text import ADVICE, read_config
from fcos_lightning.checkpoints.config_texts.sections import Section, section
from fcos_lightning.errors import UserError, shown

#: Names that only configurations of these versions have. Since 3 the input belongs to the model.
_ONLY_IN_2 = ("img_norm_cfg", "data", "total_epochs", "checkpoint_config", "lr_config")
_ONLY_IN_3 = ("data_preprocessor", "default_scope", "default_hooks", "optim_wrapper")

_BOX_LOSSES = {"IoULoss": "iou", "GIoULoss": "giou", "DIoULoss": "diou", "CIoULoss": "ciou"}
_EXTRA_FROM = {"on_input": "c5", "on_lateral": "lateral", "on_output": "p5"}
#: In place of "no bound", which mmdetection says by a number below 1.
_ALL = 1_000_000
#: From this size on, a range has no end.
_ENDLESS = 1e8
_DEEPEST_PIPELINE = 4


@dataclass(frozen=True)
class Usual:
    """What holds where the text does not say otherwise.

    Attributes:
        tricks: whether the recipe is ``tricks``.
        caffe: whether the backbone is in caffe style.
        version: of mmdetection, as far as the file says.
        strides: of the levels, as the tensors show them.
    """

    tricks: bool
    caffe: bool
    version: str
    strides: Sequence[int]


@dataclass(frozen=True)
class Settings:
    """Options of ``build_detector``, by part; those that tensors show are not among them.

    Attributes:
        caffe: whether the backbone strides in its first 1x1 convolutions.
        input: None: as for the style of the backbone.
        sides: at which shorter and at most which longer side in pixels it was evaluated.
    """

    caffe: bool
    head: dict[str, Any]
    assigner: dict[str, Any]
    loss: dict[str, Any]
    decoder: dict[str, Any]
    fpn: dict[str, Any] = field(default_factory=dict)
    input: dict[str, Any] | None = None
    sides: tuple[int, int] = (800, 1333)


def settings_of(text: str, usual: Usual) -> Settings:
    """Return what a text says.

    Args:
        text: of a configuration; empty, where the recipe alone shall count.
        usual: where the text does not say.

    Raises:
        UserError: if it cannot be read, or asks for something that no option here gives.
    """
    config = read_config(text)
    head = section(config, "bbox_head")
    in_strides = head.flag("norm_on_bbox", usual.tricks)
    on_box = head.flag("centerness_on_reg", usual.tricks)
    default_style = "caffe" if usual.caffe else "pytorch"
    strides = head.values("strides")
    if strides is not None and strides != list(usual.strides):
        raise UserError(
            f"bbox_head.strides of its configuration is {shown(strides)}; the levels of its FPN "
            f"have {list(usual.strides)} here"
        )
    return Settings(
        caffe=section(config, "backbone").word("style", "pytorch", default_style) == "caffe",
        head={
            "distances": "relu" if in_strides else "exp",
            "quality_on": "box" if on_box else "classification",
        },
        assigner=_assigner(head, usual),
        loss={
            **_loss(head, usual.tricks),
            "box_epsilon": "plain",
            "box_units": "strides" if in_strides else "pixels",
        },
        decoder=_decoder(config, usual),
        fpn=_fpn(section(config, "neck")),
        input=_input(config),
        sides=_sides(config),
    )


def _assigner(head: Section, usual: Usual) -> dict[str, Any]:
    sampled = head.flag("center_sampling", usual.tricks)
    chosen: dict[str, Any] = {
        "center_radius": head.number("center_sample_radius", 1.5) if sampled else None
    }
    ranges = head.values("regress_ranges")
    if ranges is None:
        return chosen
    for pair in ranges:
        numbers = pair if isinstance(pair, list) else []
        if len(numbers) != 2 or any(type(one) not in (int, float) for one in numbers):
            raise UserError(
                f"bbox_head.regress_ranges of its configuration has {shown(pair)}, no two sizes"
            )
    if len(ranges) != len(usual.strides):
        raise UserError(
            f"bbox_head.regress_ranges of its configuration are {len(ranges)}, for "
            f"{len(usual.strides)} levels"
        )
    sizes = [[math.inf if one >= _ENDLESS else float(one) for one in pair] for pair in ranges]
    ends = [8.0 * stride for stride in usual.strides[:-1]]
    derived = [list(pair) for pair in zip([-1.0, *ends], [*ends, math.inf], strict=True)]
    return chosen if sizes == derived else {**chosen, "size_ranges": sizes}


def _loss(head: Section, tricks: bool) -> dict[str, Any]:
    """Options of the loss; where its box loss is none of ours, mmdetection's usual one."""
    box, cls = head.part("loss_bbox"), head.part("loss_cls")
    default = "GIoULoss" if tricks and not head.complete else "IoULoss"
    kind = _BOX_LOSSES.get(box.word("type", default, default), "iou")
    if kind == "iou" and (box.word("mode", "log", "log") == "linear" or box.flag("linear", False)):
        kind = "linear_iou"
    chosen: dict[str, Any] = {"box_loss": kind}
    for theirs, ours, usual in (("alpha", "focal_alpha", 0.25), ("gamma", "focal_gamma", 2.0)):
        if (value := cls.number(theirs, usual)) != usual:
            chosen[ours] = value
    return chosen


def _decoder(config: Mapping[str, Any], usual: Usual) -> dict[str, Any]:
    test = section(config, "test_cfg")
    nms = test.part("nms")
    kind = nms.word("type", "nms", "nms")
    if kind != "nms" or nms.flag("class_agnostic", False):
        raise UserError(
            f"test_cfg.nms of its configuration is {shown(kind)}"
            f"{', of all classes together' if kind == 'nms' else ''}, which no decoder here does; "
            f"{ADVICE}"
        )
    overlap = nms.number("iou_thr", 0.6 if usual.tricks else 0.5)
    chosen: dict[str, Any] = {
        "score": "product",
        "rank_by": "class",
        "nms_iou": nms.number("iou_threshold", overlap),
        "drop_empty": _drops_empty(config, test, usual.version),
    }
    threshold = test.number("score_thr", 0.05)
    before, most = test.whole("nms_pre", 1000), test.whole("max_per_img", 100)
    # Only what is not usual, so that a file says no more than it must.
    chosen |= {"score_threshold": threshold} if threshold != 0.05 else {}
    chosen |= {"topk_per_level": before if before > 0 else _ALL} if before != 1000 else {}
    return chosen | ({"max_detections": most if most >= 0 else _ALL} if most != 100 else {})


def _drops_empty(config: Mapping[str, Any], test: Section, version: str) -> bool:
    """Whether boxes without area are left out: since version 3, where the text says so."""
    if not version:
        model = config.get("model")
        names = {*config, *(model if isinstance(model, dict) else ())}
        version = "3" if names & {*_ONLY_IN_3} else "2" if names & {*_ONLY_IN_2} else ""
    if version.startswith(("0", "1", "2")):
        return False
    known = bool(version) and test.complete
    smallest = test.number("min_bbox_size", -1 if known else 0)
    if smallest > 0:
        raise UserError(
            f"test_cfg.min_bbox_size of its configuration is {smallest:g}; a decoder here drops "
            f"boxes without area, or none; {ADVICE}"
        )
    return smallest == 0


def _fpn(neck: Section) -> dict[str, Any]:
    extra = neck.options.get("add_extra_convs")
    if type(extra) is bool:
        # Until 2.x a second option said where from.
        inputs = neck.options.get("extra_convs_on_inputs", True)
        extra = {True: "on_output" if inputs is False else "on_input", False: None}[extra]
    if extra is None:
        return {}
    if not isinstance(extra, str) or extra not in _EXTRA_FROM:
        there = ", ".join(_EXTRA_FROM)
        raise UserError(
            f"neck.add_extra_convs of its configuration is {shown(extra)}, none of {there}"
        )
    relu = neck.flag("relu_before_extra_convs", True)
    return {"p6_from": _EXTRA_FROM[extra], **({} if relu else {"relu_before_p7": False})}


def _input(config: Mapping[str, Any]) -> dict[str, Any] | None:
    """The normalisation that it is evaluated with."""
    since_3 = section(config, "data_preprocessor")
    if since_3.options.get("mean") is not None:
        swapped = since_3.flag("bgr_to_rgb", False) or since_3.flag("rgb_to_bgr", False)
        return _normal(since_3, swapped)
    steps = (one for one in _test_steps(config) if one.get("type") == "Normalize")
    found = next(steps, None)
    norm = (
        section(config, "img_norm_cfg")
        if found is None
        else Section("Normalize", found, complete=True)
    )
    if norm.options.get("mean") is None:
        return None
    swaps = norm.options.get("to_rgb", True)
    return _normal(norm, Section(norm.name, {"to_rgb": swaps}, True).flag("to_rgb", True))


def _normal(norm: Section, swapped: bool) -> dict[str, Any]:
    """Images are read as BGR."""
    numbers = {key: norm.values(key) or [] for key in ("mean", "std")}
    for key, values in numbers.items():
        if len(values) != 3 or any(type(one) not in (int, float) for one in values):
            raise UserError(
                f"{norm.name}.{key} of its configuration is {shown(values)}, no three numbers"
            )
    return {
        **{key: [float(one) for one in values] for key, values in numbers.items()},
        "channel_order": "rgb" if swapped else "bgr",
    }


def _sides(config: Mapping[str, Any]) -> tuple[int, int]:
    for step in _test_steps(config):
        scale = step.get("img_scale", step.get("scale"))
        if isinstance(scale, list) and len(scale) == 1:
            scale = scale[0]
        numbers = scale if isinstance(scale, list) else []
        if len(numbers) == 2 and all(type(side) is int and side > 0 for side in numbers):
            return min(numbers), max(numbers)
    return (800, 1333)


def _test_steps(config: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """What is done to an image in the test, one inside the other as well."""
    for path in (
        ("data", "test", "pipeline"),
        ("test_dataloader", "dataset", "pipeline"),
        ("test_pipeline",),
    ):
        found: object = config
        for key in path:
            found = found.get(key) if isinstance(found, dict) else None
        if isinstance(found, list):
            yield from _steps_in(found, _DEEPEST_PIPELINE)
            return


def _steps_in(pipeline: list[Any], depth: int) -> Iterator[Mapping[str, Any]]:
    for step in pipeline:
        if isinstance(step, dict):
            yield step
            inner = step.get("transforms")
            if isinstance(inner, list) and depth:
                yield from _steps_in(inner, depth - 1)
