"""``build_fcos``: what it derives, what it refuses, and how a detector is made again."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fcos_lightning.detector import (
    FCOS,
    DenseDetector,
    FCOSAssigner,
    FCOSLoss,
    NMSDecoder,
    build_detector,
    build_fcos,
)
from fcos_lightning.detector.parts import Assigner, Decoder, Loss
from fcos_lightning.errors import UserError
from fcos_lightning.structures import Assignment, Detections, Losses, Points, Target

TINY: dict[str, Any] = {
    "num_classes": 3,
    "backbone": {"name": "tiny", "widths": [8, 8, 16, 16], "depths": [1, 1, 1, 1]},
    "fpn": {"channels": 16},
    "head": {"num_convs": 1},
}
IMAGE = torch.randint(0, 256, (3, 40, 50), dtype=torch.uint8)


def shapes(detector: FCOS) -> dict[str, list[int]]:
    return {key: list(value.shape) for key, value in detector.state_dict().items()}


class Twice(nn.Module):
    """A backbone of two maps, as a user would write it."""

    def __init__(self) -> None:
        super().__init__()
        self.channels = (5, 7)
        self.strides = (8, 16)
        self.first = nn.Conv2d(3, 5, 3, 8, 1)
        self.second = nn.Conv2d(5, 7, 3, 2, 1)

    def forward(self, images: Tensor) -> list[Tensor]:
        first = self.first(images)
        return [first, self.second(first)]


def test_everything_is_derived_from_the_backbone() -> None:
    detector = build_fcos(num_classes=4, backbone=Twice(), fpn={"levels": [3, 4, 5], "channels": 8})
    assert [m.in_channels for m in detector.fpn.lateral] == [5, 7]
    assert detector.strides == (8, 16, 32)
    assert detector.size_multiple == 16
    assert len(detector.head.scales) == 3
    prediction = detector.predict([IMAGE])
    assert prediction.cls_logits.shape == (1, 6 * 8 + 3 * 4 + 2 * 2, 4)


def _ranges(detector: FCOS) -> Any:
    assert isinstance(detector.assigner, FCOSAssigner)
    return detector.assigner.ranges(detector.strides)


@pytest.mark.parametrize(
    ("levels", "ranges"),
    [
        ([3, 4, 5, 6, 7], ((-1, 64), (64, 128), (128, 256), (256, 512), (512, math.inf))),
        ([3, 4, 5], ((-1, 64), (64, 128), (128, math.inf))),
        ([4], ((-1, math.inf),)),
    ],
)
def test_size_ranges_are_derived_of_the_strides(levels: list[int], ranges: Any) -> None:
    detector = build_fcos(**{**TINY, "fpn": {"levels": levels, "channels": 8}})
    assert _ranges(detector) == ranges
    points = detector.grid((64, 64))
    # A box of 100 px belongs to the level that answers for such sizes.
    found = detector.assign(
        points, [Target(torch.tensor([[-50.0, -50, 50, 50]]), torch.zeros(1).long())]
    )
    largest = found.ltrb_px.amax(dim=2)[found.positive]
    level = torch.arange(len(levels)).repeat_interleave(torch.tensor(points.per_level))
    assert len(largest) > 0
    for place, side in zip(
        level.expand_as(found.labels)[found.positive].tolist(), largest, strict=True
    ):
        assert ranges[place][0] <= side <= ranges[place][1]


def test_size_ranges_may_be_given_as_yaml_gives_them() -> None:
    given = [[-1, 50], [50, "inf"]]
    fpn = {"levels": [3, 4], "channels": 8}
    detector = build_fcos(**{**TINY, "fpn": fpn, "assigner": {"size_ranges": given}})
    assert _ranges(detector) == ((-1, 50), (50, math.inf))
    with pytest.raises(UserError, match="2 ranges for 5 levels"):
        build_fcos(**TINY, assigner={"size_ranges": given})


def test_options_reach_their_part() -> None:
    detector = build_fcos(
        **TINY,
        assigner={"center_radius": None},
        loss={"box_loss": "ciou", "focal_gamma": 1.5},
        decoder={"nms_iou": 0.5},
        input={"mean": [1, 2, 3], "channel_order": "bgr"},
        point_offset=0,
    )
    assert detector.assigner == FCOSAssigner(center_radius=None)
    assert detector.loss == FCOSLoss(box_loss="ciou", focal_gamma=1.5)
    assert detector.decoder == NMSDecoder(nms_iou=0.5)
    assert detector.mean.flatten().tolist() == [1, 2, 3]
    assert detector.std.flatten().tolist() == pytest.approx([58.395, 57.12, 57.375])
    assert (detector.channel_order, detector.grid.offset) == ("bgr", 0)


@pytest.mark.parametrize(
    ("part", "option"),
    [
        ("backbone", {"width": [1]}),
        ("fpn", {"chanels": 8}),
        ("fpn", {"in_channels": 8}),
        ("head", {"num_conv": 2}),
        ("head", {"num_classes": 2}),
        ("grid", {"strides": [8]}),
        ("head", {"strides": [8]}),
        ("assigner", {"radius": 1.5}),
        ("assigner", {"points": None}),
        ("loss", {"box": "giou"}),
        ("loss", {"prediction": None}),
        ("decoder", {"nms": 0.5}),
        ("decoder", {"sizes_hw": None}),
        ("input", {"means": [0, 0, 0]}),
    ],
)
def test_an_unknown_option_is_named(part: str, option: dict[str, Any]) -> None:
    chosen = {**TINY, part: {**TINY.get(part, {}), **option}}
    (name,) = option
    with pytest.raises(UserError, match=rf"model\.{part}.*{name}") as error:
        build_fcos(**chosen)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("part", "option", "message"),
    [
        ("backbone", {"norm": "froze"}, "give one of frozen, trained"),
        ("fpn", {"p6_from": "c6"}, "give one of p5, c5"),
        ("head", {"norm": "layer"}, "give one of none, group, batch"),
        ("loss", {"box_loss": "gious"}, "give one of iou, linear_iou, giou, diou, ciou"),
        ("loss", {"box_epsilon": "oficial"}, "give one of official, plain"),
        ("loss", {"box_units": "px"}, "give one of strides, pixels"),
        ("loss", {"quality": "iuo"}, "give one of centerness, iou"),
        ("decoder", {"score": "sqroot"}, "give one of sqrt, product"),
        ("decoder", {"rank_by": "cls"}, "give one of score, class"),
        ("decoder", {"clip_to": "image"}, "give one of edge, last_pixel"),
        ("input", {"channel_order": "gbr"}, "give one of rgb, bgr"),
        ("input", {"mean": [1.0]}, "one number per channel"),
        ("input", {"std": [1.0, 2.0, 3.0, 4.0]}, "one number per channel"),
    ],
)
def test_a_misspelt_word_dies_at_the_constructor(
    part: str, option: dict[str, Any], message: str
) -> None:
    chosen = {**TINY, part: {**TINY.get(part, {}), **option}}
    (name,) = option
    with pytest.raises(UserError, match=rf"model\.{part}\.{name}.*{message}"):
        build_fcos(**chosen)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_classes": 0}, "at least one class"),
        ({"num_classes": None, "class_names": []}, "at least one class"),
        ({"num_classes": None}, "needs num_classes or class_names"),
        ({"num_classes": 2, "class_names": ["a"]}, "1 class names but num_classes=2"),
        ({"num_classes": 2, "category_ids": [1]}, "1 category ids but num_classes=2"),
    ],
)
def test_classes_that_do_not_fit(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        build_fcos(**{**TINY, **options})


def test_class_names_count_the_classes() -> None:
    detector = build_fcos(
        **{**TINY, "num_classes": None}, class_names=["cell", "dust"], category_ids=[7, 90]
    )
    assert detector.head.num_classes == 2
    assert detector.class_names == ("cell", "dust")
    assert detector.category_ids == (7, 90)
    assert build_fcos(**TINY).class_names is None


def test_unknown_arguments_raise() -> None:
    with pytest.raises(TypeError, match="backbones"):
        build_fcos(num_classes=1, backbones={})  # type: ignore[call-arg]


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"class_names": ("a", "b", "c"), "category_ids": (3, 4, 90)},
        {
            "head": {"num_convs": 2, "channels": 24, "norm": "batch", "distances": "exp"},
            "fpn": {"channels": 8, "levels": (3, 4, 5), "p6_from": "c5"},
            "assigner": {"size_ranges": ((-1, 50), (50, 90), (90, math.inf))},
            "loss": {"box_loss": "iou"},
            "decoder": {"score": "product"},
            "input": {"std": (1, 1, 1)},
            "point_offset": 0.0,
        },
    ],
)
def test_the_spec_is_plain_and_makes_the_same_detector(more: dict[str, Any]) -> None:
    detector = build_fcos(**{**TINY, **more})
    spec = json.loads(json.dumps(detector.spec))
    again = build_fcos(**spec)
    assert again.spec == detector.spec == spec
    assert shapes(again) == shapes(detector)
    again.load_state_dict(detector.state_dict())
    assert (again.class_names, again.category_ids) == (detector.class_names, detector.category_ids)
    assert (again.grid, again.assigner) == (detector.grid, detector.assigner)
    assert (again.loss, again.decoder) == (detector.loss, detector.decoder)
    a, b = (d.eval().predict([IMAGE]) for d in (again, detector))
    assert torch.equal(a.ltrb_px, b.ltrb_px)
    assert torch.equal(a.cls_logits, b.cls_logits)


def test_to_build_again_fetches_no_weights(shared: Path) -> None:
    path = shared / "weights" / "mobilenet_v2_imagenet_features.pth"
    backbone = {"name": "mobilenet_v2", "weights": str(path)}
    detector = build_fcos(**{**TINY, "backbone": backbone})
    assert detector.spec["backbone"] == {"name": "mobilenet_v2", "weights": None}
    assert backbone["weights"] == str(path)  # the caller's own dict is left alone
    assert shapes(build_fcos(**detector.spec)) == shapes(detector)


CALLS: list[str] = []


@dataclass(frozen=True)
class MyAssigner(FCOSAssigner):
    """Somebody's own part, with an option more."""

    word: str = "assign"

    def __call__(self, points: Points, targets: Any, prediction: Any = None) -> Assignment:
        CALLS.append(self.word)
        return super().__call__(points, targets)


class MyLoss(FCOSLoss):
    def __call__(self, *arguments: Any) -> Losses:
        CALLS.append("loss")
        return super().__call__(*arguments)


class MyDecoder(Decoder):
    def __call__(self, *arguments: Any) -> list[Detections]:
        CALLS.append("decode")
        return NMSDecoder(score_threshold=0.0, max_detections=2)(*arguments)


def test_parts_of_your_own() -> None:
    CALLS.clear()
    detector = build_fcos(
        num_classes=2,
        backbone=Twice(),
        fpn={"levels": [3, 4], "channels": 8},
        assigner=MyAssigner(center_radius=None),
        loss=MyLoss(box_loss="diou"),
        decoder=MyDecoder(),
    )
    images = detector.collate([IMAGE])
    points = detector.grid(images)
    target = Target(torch.tensor([[4.0, 4, 30, 30]]), torch.tensor([1]))
    assignment = detector.assign(points, [target])
    detector.loss(detector(images), assignment, points, None).total.backward()
    assert len(detector.detect([IMAGE])[0]) == 2
    assert CALLS == ["assign", "loss", "decode"]
    # What is code is named, for the message when it is missed; the rest stays plain.
    assert set(detector.spec["custom"]) == {"backbone", "assigner", "loss", "decoder"}
    assert detector.spec["custom"]["backbone"].endswith("test_build.Twice")
    assert detector.spec["custom"]["loss"].endswith("test_build.MyLoss")
    json.dumps(detector.spec)


@pytest.mark.parametrize(
    ("part", "given", "base"),
    [
        ("assigner", print, Assigner),
        ("loss", FCOSAssigner(), Loss),
        ("decoder", lambda *_: [], Decoder),
        ("decoder", "nms", Decoder),
    ],
)
def test_what_is_no_part_is_refused_with_the_class_to_derive_from(
    part: str, given: object, base: type
) -> None:
    with pytest.raises(UserError, match=rf"model\.{part}: .* is no {base.__name__}; derive"):
        build_fcos(**TINY, **{part: given})  # type: ignore[arg-type]


@pytest.mark.parametrize("part", ["head", "assigner", "loss", "decoder"])
@pytest.mark.parametrize("name", ["fcos2", "focal", "__init__", "../fcos", 7, ["fcos"], "parts"])
def test_a_part_that_is_not_there(part: str, name: object) -> None:
    known = "nms" if part == "decoder" else "fcos"
    with pytest.raises(UserError, match=rf"model\.{part}\.name=.*no such part; .*{known}"):
        build_fcos(**{**TINY, part: {"name": name}})


@pytest.mark.parametrize(
    ("part", "option", "message"),
    [
        ("fpn", {"channels": "many"}, "give a whole number"),
        ("fpn", {"levels": 3}, "give a list"),
        ("head", {"num_convs": 1.5}, "give a whole number"),
        ("head", {"channels": True}, "give a whole number or null"),
        ("head", {"level_scales": "yes"}, "give true or false"),
        ("assigner", {"center_radius": "wide"}, "give a number or null"),
        ("assigner", {"size_ranges": [[0, 1, 2]]}, "give a list"),
        ("assigner", {"size_ranges": [["low", 64.0]]}, "give a list"),
        ("assigner", {"size_ranges": [[0.0, "high"]]}, "give a list"),
        ("loss", {"focal_alpha": None}, "give a number"),
        ("decoder", {"max_detections": [100]}, "give a whole number"),
        ("grid", {"anchor_scales": [0.0], "anchor_ratios": [1.0]}, "give numbers above 0"),
        ("grid", {"offset": {}}, "give a number"),
    ],
)
def test_a_value_of_another_type_dies_at_the_constructor(
    part: str, option: dict[str, Any], message: str
) -> None:
    (name, *_) = option
    with pytest.raises(UserError, match=rf"model\.{part}\.{name}.*{message}"):
        build_fcos(**{**TINY, part: {**TINY.get(part, {}), **option}})


def test_a_long_value_is_cut_in_the_message() -> None:
    with pytest.raises(UserError) as caught:
        build_fcos(**TINY, loss={"box_loss": "x" * 100_000})
    assert len(str(caught.value)) < 300


def test_the_first_version_s_specifications_are_still_read() -> None:
    # As 0.1.0 wrote them: without names of parts, two options of the grid beside them.
    spec = {
        **TINY,
        "class_names": None,
        "category_ids": None,
        "assigner": None,
        "loss": {"box_loss": "iou"},
        "decoder": {"clip_to": "last_pixel"},
        "input": None,
        "point_offset": 0.0,
        "point_spacing": "image",
    }
    detector = build_fcos(**spec)
    assert (detector.grid.offset, detector.grid.spacing) == (0.0, "image")
    assert detector.decoder == NMSDecoder(clip_to="last_pixel")
    again = build_detector(**json.loads(json.dumps(detector.spec)))
    assert isinstance(again, DenseDetector) and again.spec == detector.spec


@pytest.mark.parametrize("missing", ["channels", "strides"])
def test_a_backbone_that_does_not_declare_itself(missing: str) -> None:
    backbone = Twice()
    delattr(backbone, missing)
    with pytest.raises(UserError, match=r"model\.backbone: Twice has no \.channels and \.strides"):
        build_fcos(num_classes=1, backbone=backbone)


def test_a_backbone_that_does_not_fit_the_levels() -> None:
    backbone = Twice()
    backbone.strides = (16, 32)
    with pytest.raises(UserError, match=r"model\.fpn\.levels=.*none is 8"):
        build_fcos(num_classes=1, backbone=backbone)


def test_the_default_holds_the_numbers_of_the_official_improved_r50(shared: Path) -> None:
    golden = torch.load(shared / "golden" / "official_fcos_imprv_R_50_FPN_1x.pt", weights_only=True)
    detector = build_fcos(num_classes=80)
    ours = shapes(detector)
    assert not any(key.endswith("num_batches_tracked") for key in (*ours, *golden["keys"]))

    def kinds(keys: dict[str, list[int]], *parts: str) -> list[tuple[int, ...]]:
        return sorted(tuple(s) for k, s in keys.items() if k.startswith(parts))

    # The same tensors, part by part; the official code has one scalar for each level's scale.
    scales = [key for key in golden["keys"] if "scales" in key]
    assert len(scales) == 5
    assert kinds(ours, "backbone.") == kinds(golden["keys"], "backbone.body.")
    assert kinds(ours, "fpn.") == kinds(golden["keys"], "backbone.fpn.")
    assert ours.pop("head.scales") == [5]
    official_head = {k: s for k, s in golden["keys"].items() if k not in scales}
    assert kinds(ours, "head.") == kinds(official_head, "rpn.")
    total = sum(math.prod(shape) for shape in golden["keys"].values())
    assert sum(value.numel() for value in detector.state_dict().values()) == total
    # Parameters are all of it but the four numbers of each frozen BatchNorm channel.
    frozen = sum(v.numel() for v in detector.backbone.buffers())
    assert sum(p.numel() for p in detector.parameters()) == total - frozen
    assert frozen == 4 * 26560
    assert total == 32_350_490


def test_the_defaults_are_the_official_improved_recipe() -> None:
    detector = build_fcos(num_classes=80)
    head = detector.head
    assert (head.quality_on, head.distances) == ("box", "relu")
    assert [type(m).__name__ for m in head.cls_tower] == ["Conv2d", "GroupNorm", "ReLU"] * 4
    assert detector.fpn.p6_from == "p5"
    assert detector.strides == (8, 16, 32, 64, 128)
    assert detector.backbone.frozen_stages == 2
    assert detector.size_multiple == 32
    frozen = {k.split(".")[2] for k, p in detector.named_parameters() if not p.requires_grad}
    assert frozen == {"0", "1"}


@pytest.mark.parametrize("name", ["tiny", "resnet18", "mobilenet_v2", "vovnet", "timm/resnet18"])
def test_a_finer_level_is_asked_of_the_backbone(name: str) -> None:
    chosen = {"num_classes": 1, "backbone": {"name": name, "norm": "trained", "frozen_stages": 0}}
    detector = build_detector(**chosen, fpn={"channels": 8, "only": 2}, head={"num_convs": 1})
    assert detector.strides == (4,)
    assert tuple(detector.backbone.strides) == (4, 8, 16, 32)
    assert detector.predict([IMAGE]).cls_logits.shape == (1, 16 * 16, 1)
    assert build_detector(**detector.spec).strides == (4,)
    usual = build_detector(**chosen, fpn={"channels": 8, "levels": [2, 3]}, head={"num_convs": 1})
    assert usual.strides == (4, 8)


def test_the_finest_stride_is_derived_and_no_option() -> None:
    with pytest.raises(UserError, match=r"model\.backbone\.finest_stride: no such option"):
        build_fcos(**{**TINY, "backbone": {"name": "tiny", "finest_stride": 4}})


def test_a_checkpoint_that_knows_no_other_pyramid_is_built_as_it_was() -> None:
    spec = build_fcos(**TINY).spec
    assert (spec["fpn"].pop("only"), spec["fpn"].pop("top_down")) == (None, True)
    del spec["grid"]["square_scales"]
    assert shapes(build_detector(**spec)) == shapes(build_fcos(**TINY))
