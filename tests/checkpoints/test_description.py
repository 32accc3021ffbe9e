"""What a checkpoint says is of the kinds that its readers expect, or refused in one line."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from fcos_lightning import build_fcos, load_detector
from fcos_lightning.checkpoints import Checkpoint, describe
from fcos_lightning.checkpoints.description import checked_description
from fcos_lightning.detector import FCOS
from fcos_lightning.errors import UserError

TINY = {"name": "tiny", "frozen_stages": 0, "norm": "trained", "widths": [8, 8, 8, 8]}
SMALL = {"backbone": TINY, "fpn": {"channels": 16, "levels": [3, 4]}, "head": {"num_convs": 1}}
RUN = {
    "version": "0.1.0",
    "name": "fcos",
    "data_choice": "shapes",
    "data": {"root": None, "batch_size": 4},
    "shorter_side": 64,
    "longer_side": 96,
    "channels_last": True,
}


@pytest.fixture(scope="module")
def detector() -> FCOS:
    return build_fcos(class_names=["a", "b"], category_ids=[3, 90], **SMALL)


@pytest.fixture
def described(detector: FCOS) -> dict[str, Any]:
    return copy.deepcopy(describe(detector, **RUN))


def test_an_honest_description_is_taken_as_it_is(described: dict[str, Any]) -> None:
    assert checked_description(described) == described
    size_ranges = [[-1, 32], [32, float("inf")]]
    described["spec"]["assigner"] = {"center_radius": None, "size_ranges": size_ranges}
    described["spec"]["input"] = {"mean": (1.0, 2, 3), "std": [1, 1, 1], "channel_order": "bgr"}
    found = checked_description(described)
    assert found["spec"]["assigner"]["size_ranges"] == size_ranges
    assert found["spec"]["input"]["mean"] == [1.0, 2, 3]  # a tuple is a list


def test_the_classes_are_always_said() -> None:
    found = checked_description({"format": 1, "spec": {"class_names": ["a", "b"]}})
    assert found["spec"]["num_classes"] == 2 and found["spec"]["category_ids"] is None
    with pytest.raises(UserError, match="neither num_classes nor class_names"):
        checked_description({"format": 1, "spec": {}})


WRONG: list[tuple[str, object, str]] = [
    # Nothing but plain data: the first of them would otherwise be the detector's options.
    ("spec.backbone", torch.zeros(1), "not plain data: spec.backbone is tensor"),
    ("data.root", {1: 2}, "data.root has the key 1"),
    ("data.root", b"x", "not plain data: data.root is b'x'"),
    ("name", "\ud800", "text that is none"),
    ("more", [[[[[[[[[[[[1]]]]]]]]]]]], "larger than any detector's"),
    ("more", [0] * 300_000, "larger than any detector's"),
    ("more", [10**5000], "number of 16610 bits"),
    # Of the kind that its reader takes it for.
    ("data", [1], r"data is \[1\], not a dictionary"),
    ("name", 5, "name is 5, not a text or nothing"),
    ("data_choice", ["x"], r"data_choice is \['x'\], not a text"),
    ("channels_last", "x", "channels_last is 'x', not true or false"),
    ("shorter_side", "x", "shorter_side is 'x', not a whole number"),
    ("shorter_side", -5, "shorter_side is -5; a side has 1 to 10000 pixels"),
    ("longer_side", 10**9, "longer_side is 1000000000"),
    ("shorter_side", float("nan"), "shorter_side is nan, not a whole number"),
    ("spec", None, "spec is None, not a dictionary"),
    ("spec.extra", 1, "spec.extra is no option of this version"),
    ("spec.num_classes", 2.0, "num_classes is 2.0, not a whole number"),
    ("spec.num_classes", 10**9, "num_classes is 1000000000; no detector has"),
    ("spec.class_names", [1, 2], r"class_names is \[1, 2\], not a list, each a text"),
    ("spec.class_names", ["x" * 10_000, "b"], "a name of 10000 characters"),
    ("spec.category_ids", list("ab"), "category_ids is"),
    ("spec.category_ids", [1, 2**63], "more than 64 bits"),
    ("spec.point_offset", float("nan"), "point_offset is nan, not a number"),
    ("spec.point_spacing", "x", "point_spacing is 'x', not one of stride, image"),
    ("spec.backbone", "resnet50", "backbone is 'resnet50', not a dictionary"),
    ("spec.backbone.widths", "abcd", "backbone.widths is 'abcd', not a list"),
    ("spec.backbone.widths", [8, 8, 8, -8], "backbone.widths is -8; no detector has less"),
    ("spec.backbone.name", "timm/hf_hub:some/model", "backbone.name is no name of a net"),
    ("spec.fpn.levels", [10**6], "fpn.levels is 1000000"),
    ("spec.fpn.channels", True, "fpn.channels=True: give a whole number"),
    ("spec.head.num_convs", float("inf"), "head.num_convs is inf; no detector has"),
    ("spec.head.prior", float("inf"), "head.prior is inf; no detector has"),
    ("spec.head.norm", "layer", "head.norm=layer: give one of none"),
    ("spec.loss", {"box_loss": 1}, "loss.box_loss=1: give one of iou"),
    ("spec.decoder", {"nms_iou": float("nan")}, "decoder.nms_iou is nan"),
    ("spec.decoder", {"max_detections": -1}, "decoder.max_detections is -1"),
    ("spec.assigner", {"size_ranges": [[0, float("nan")]]}, "size_ranges="),
    ("spec.assigner", {"size_ranges": [[0, 1, 2]]}, "size_ranges="),
    ("spec.input", {"std": [0, 1, 1]}, "std has a 0"),
    ("spec.input", {"mean": [None] * 3}, "input.mean is"),
    ("spec.custom", ["backbone"], "custom is"),
    ("spec.custom", {"backbone": 1}, "custom.backbone is 1, not a text"),
]


@pytest.mark.parametrize(
    ("place", "value", "said"), WRONG, ids=[f"{place}-{said[:20]}" for place, _, said in WRONG]
)
def test_a_value_of_another_kind_is_named(
    described: dict[str, Any], place: str, value: object, said: str
) -> None:
    *path, last = place.split(".")
    parent = described
    for key in path:
        parent = parent[key]
    parent[last] = value
    with pytest.raises(UserError, match=said) as caught:
        checked_description(described)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 300


@pytest.mark.parametrize("part", ["backbone", "fpn", "grid", "head", "assigner", "loss", "decoder"])
def test_every_option_of_a_detector_has_a_kind_that_is_checked(
    part: str, described: dict[str, Any]
) -> None:
    options = list(described["spec"][part])
    assert options
    for name in options:
        if (part, name) == ("backbone", "weights"):  # which is left out whatever it says
            continue
        changed = copy.deepcopy(described)
        changed["spec"][part][name] = {"no": "option"}
        with pytest.raises(UserError, match=rf"(spec|model)\.{part}\.{name}"):
            checked_description(changed)
    checked_description(described)


DOORS: dict[str, Callable[[Path], object]] = {
    "load": load_detector,
    "read": Checkpoint.read,
    "init_from": lambda path: Checkpoint.read(path).start(build_fcos(num_classes=2, **SMALL)),
}


@pytest.mark.parametrize("suffix", [".ckpt", ".safetensors"])
@pytest.mark.parametrize("door", DOORS)
def test_no_door_takes_a_description_without_a_look(
    tmp_path: Path, detector: FCOS, described: dict[str, Any], suffix: str, door: str
) -> None:
    state = {f"detector.{key}": value for key, value in detector.state_dict().items()}
    described["spec"]["head"]["num_convs"] = "many"
    file = tmp_path / f"a{suffix}"
    if suffix == ".ckpt":
        torch.save({"state_dict": state, "fcos": described}, file)
    else:
        about = {key: value for key, value in described.items() if key not in ("spec", "format")}
        Checkpoint(file, described["spec"], detector.state_dict(), about, {}).write(file)
    with pytest.raises(UserError, match=rf"checkpoint .*a{suffix}: model.head.num_convs=many"):
        DOORS[door](file)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"state_dict": None}, "it has no weights, under state_dict"),
        ({"fcos": 5}, "its description is 5, not a dictionary"),
        ({"fcos": {"format": 3}}, "format 3 is not known to this version"),
        ({"fcos": {"spec": {"num_classes": 2}}}, "lacks its version, under format"),
        ({"fcos": {"format": None, "spec": {"num_classes": 2}}}, "lacks its version, under format"),
        ({"fcos": {"format": [1]}}, r"its format is \[1\], not a whole number"),
        ({"fcos_logged": {"csv_rows": "x", "steps": 1}}, "fcos_logged is"),
        ({"fcos_logged": [1]}, "fcos_logged is"),
    ],
)
def test_the_rest_of_a_checkpoint(
    tmp_path: Path, detector: FCOS, changes: dict[str, object], said: str
) -> None:
    state = {f"detector.{key}": value for key, value in detector.state_dict().items()}
    torch.save({"state_dict": state, "fcos": describe(detector), **changes}, tmp_path / "a.ckpt")
    with pytest.raises(UserError, match=said):
        Checkpoint.read(tmp_path / "a.ckpt")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("x", "head.scales is 'x', no tensor"),
        ([1.0, 1.0], r"head.scales is \[1.0, 1.0\], no tensor"),
        (
            torch.ones(2, dtype=torch.complex64),
            "is of torch.complex64, no real",
        ),
        (
            torch.ones(2).to_sparse(),
            "is <torch.*_sparse_tensor, not read>",
        ),
        (torch.ones(2, dtype=torch.bool), "head.scales is of torch.bool, which is not what"),
        (torch.ones(3), r"1 of another shape \(head.scales\)"),
    ],
)
def test_weights_of_another_kind(tmp_path: Path, detector: FCOS, value: object, said: str) -> None:
    state: dict[str, object] = {f"detector.{k}": v for k, v in detector.state_dict().items()}
    state["detector.head.scales"] = value
    torch.save({"state_dict": state, "fcos": describe(detector)}, tmp_path / "a.ckpt")
    with pytest.raises(UserError, match=said):
        load_detector(tmp_path / "a.ckpt")


def test_weights_of_less_precision_are_taken(tmp_path: Path, detector: FCOS) -> None:
    state = {
        f"detector.{key}": value.half() if value.is_floating_point() else value
        for key, value in detector.state_dict().items()
    }
    torch.save({"state_dict": state, "fcos": describe(detector)}, tmp_path / "a.ckpt")
    loaded = load_detector(tmp_path / "a.ckpt")
    weight: Tensor = loaded.head.cls_logits.weight
    assert weight.dtype == torch.float32
    assert torch.equal(weight, state["detector.head.cls_logits.weight"].float())
