"""Every row of a published table: its recipe composes, builds its source's model, and learns."""

import math
from functools import cache
from pathlib import Path
from typing import Any

import hydra
import pytest
import torch
from omegaconf import DictConfig, OmegaConf
from torch import nn
from torchvision.ops import FrozenBatchNorm2d

from fcos_lightning.detector import FCOS
from fcos_lightning.runs.config.composed import config_dir
from fcos_lightning.runs.objects.instantiate import check_targets, make
from fcos_lightning.structures import Images, Target

EXPERIMENTS = config_dir() / "experiment"
ROWS = sorted(
    str(file.relative_to(EXPERIMENTS).with_suffix("")) for file in EXPERIMENTS.glob("*/*.yaml")
)


def composed(*overrides: str) -> DictConfig:
    with hydra.initialize_config_dir(str(config_dir()), version_base="1.3"):
        return hydra.compose("train", list(overrides))


@cache
def row(name: str) -> DictConfig:
    return composed(f"experiment={name}", "run_dir=somewhere", "model.backbone.weights=null")


def built(name: str, classes: int = 80, device: str = "meta") -> FCOS:
    with torch.device(device):
        detector = make(row(name), "model", class_names=[str(i) for i in range(classes)])
    assert isinstance(detector, FCOS)
    return detector


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_every_published_row_is_here() -> None:
    of_source = [name.split("/")[0] for name in ROWS]
    assert {source: of_source.count(source) for source in set(of_source)} == {
        "official": 15,
        "adelaidet": 18,
        "mmdet": 6,
        "torchvision": 1,
    }


@pytest.mark.parametrize("name", ROWS)
def test_a_row_composes_and_says_what_it_is(name: str) -> None:
    tree = OmegaConf.to_container(row(name), resolve=True, throw_on_missing=True)
    assert isinstance(tree, dict)
    for key, value in tree.items():
        check_targets(value, str(key), ())
    assert tree["name"] == name.replace("/", "_")
    schedule = make(row(name), "schedule")
    steps = schedule.max_steps or schedule.max_epochs * 117_266 // 16
    words = name.rsplit("_", 1)[-1]
    turns = {"1x": 1, "2x": 2, "3x": 3, "4x": 4, "26e": 26 / 12}
    turns |= {"iou": 1 if "1x" in name else 2}
    assert steps == pytest.approx(90_000 * turns[words], rel=0.03)
    assert schedule.scaled_lr(tree["data"]["batch_size"]) == pytest.approx(0.01)


@pytest.mark.parametrize("name", ROWS)
def test_a_row_holds_differences_only(name: str) -> None:
    file = OmegaConf.load(EXPERIMENTS / f"{name}.yaml")
    assert isinstance(file, DictConfig)
    choices = []
    for entry in file.pop("defaults", []):
        if isinstance(entry, str):
            choices.append(f"experiment={entry.removeprefix('/experiment/')}")
        else:
            choices += [f"{key.split('/')[-1]}={value}" for key, value in entry.items()]
    before, after = composed(*choices), composed(f"experiment={name}")
    for key in leaves(file):
        assert OmegaConf.select(after, key) != OmegaConf.select(before, key), key


def leaves(tree: DictConfig, before: str = "") -> list[str]:
    return [
        leaf
        for key, value in tree.items()
        for leaf in (
            leaves(value, f"{before}{key}.")
            if isinstance(value, DictConfig)
            else [f"{before}{key}"]
        )
    ]


@pytest.mark.parametrize("name", ROWS)
def test_a_row_is_built_on_the_published_levels(name: str) -> None:
    detector = built(name)
    real_time = "/rt_" in name
    assert detector.strides == ((8, 16, 32) if real_time else (8, 16, 32, 64, 128))
    kinds = [type(module).__name__ for module in detector.modules()]
    stages_of = {"r50": 13, "r101": 30}
    wanted = 0
    if "dcn" in name:
        blocks = stages_of.get(next((k for k in stages_of if k in name), ""), 26)
        wanted = blocks + 2
    assert kinds.count("DeformableConv2d") == wanted
    # The config's input, not that of the weights.
    assert detector.mean.numel() == 3
    assert (row(name).model.input is None) == (
        name in ("torchvision/r50_26e", "mmdet/x101_64x4d_ms_2x")
    )


GOLDEN = [
    ("official_fcos_R_50_FPN_1x", "official/r50_1x"),
    ("official_fcos_imprv_R_50_FPN_1x", "official/imprv_r50_1x"),
    ("official_fcos_syncbn_bs32_MNV2_FPN_1x", "official/mnv2_syncbn_bs32_1x"),
    ("adelaidet_R_50_1x", "adelaidet/r50_1x"),
    ("adelaidet_FCOS_RT_MS_R_50_4x_syncbn", "adelaidet/rt_r50_4x"),
    ("adelaidet_FCOS_RT_MS_DLA_34_4x_syncbn", "adelaidet/rt_dla34_4x"),
    ("mmdet_fcos_r50-caffe_fpn_gn-head_1x_coco", "mmdet/r50_1x"),
    (
        "mmdet_fcos_r50-caffe_fpn_gn-head-center-normbbox-centeronreg-giou_1x_coco",
        "mmdet/r50_tricks_1x",
    ),
]


@pytest.mark.parametrize(("source", "name"), GOLDEN)
def test_shapes_are_those_of_the_source(shared: Path, source: str, name: str) -> None:
    golden = torch.load(shared / "golden" / f"{source}.pt", weights_only=True)
    theirs = {
        key: tuple(shape)
        for key, shape in golden["keys"].items()
        # DLA's projections of its outer trees are in the files and never used.
        if not key.startswith(
            ("backbone.bottom_up.level3.project", "backbone.bottom_up.level4.project")
        )
        and not key.endswith("num_batches_tracked")
        # Each source names and shapes the scales of the levels in its own way.
        and "scales." not in key
    }
    ours = {
        key: tuple(value.shape)
        for key, value in built(name).state_dict().items()
        if not key.endswith("num_batches_tracked") and key != "head.scales"
    }
    assert sorted(ours.values()) == sorted(theirs.values())
    assert built(name).head.scales.shape == (len(golden["cls"]),)  # type: ignore[union-attr]
    assert row(name).model.input == OmegaConf.create(
        {
            "mean": golden["input"]["mean"],
            "std": golden["input"]["std"],
            "channel_order": golden["input"]["order"],
        }
    )


def test_torchvisions_number_of_parameters() -> None:
    # It counts the background and the unused ids of COCO among its 91 classes; our scales of the
    # five levels stand still.
    detector = built("torchvision/r50_26e", classes=91)
    assert parameters(detector) - 5 == 32_269_600
    assert not detector.head.scales.requires_grad  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        # ResNeXt-101's and ResNet-101's bodies (torchvision's counts less classifier and
        # BatchNorm) and 8.8 million of FPN, towers and logits.
        ("official/imprv_r101_2x", 51.3),
        ("official/imprv_x101_32x8d_2x", 95.5),
        ("official/imprv_x101_64x4d_2x", 90.1),
    ],
)
def test_large_models_have_the_parameters_of_their_parts(name: str, millions: float) -> None:
    detector = built(name)
    assert any(isinstance(m, FrozenBatchNorm2d) for m in detector.modules())
    assert parameters(detector) / 1e6 == pytest.approx(millions, abs=0.25)


def one_step(name: str) -> None:
    """Take one optimiser step on two small images and look at what it moved."""
    torch.manual_seed(0)
    detector = built(name, classes=3, device="cpu").train()
    optimizer, _ = make(row(name), "schedule").configure(detector, 16, 1000)
    pictures = [
        torch.randint(0, 256, (3, *size), dtype=torch.uint8) for size in ((128, 160), (120, 150))
    ]
    targets = [
        Target(torch.tensor([[10.0, 20.0, 70.0, 90.0], [60.0, 5.0, 140.0, 60.0]]), labels)
        for labels in (torch.tensor([0, 2]), torch.tensor([1, 1]))
    ]
    images = Images.pad(pictures, detector.size_multiple)
    points = detector.grid(images)
    losses = detector.loss(detector(images), detector.assign(points, targets), points)
    total = losses.terms["cls"] + losses.terms["box"] + losses.terms["quality"]
    assert math.isfinite(total.item())
    total.backward()
    learning = {key: p for key, p in detector.named_parameters() if p.requires_grad}
    assert [key for key, p in learning.items() if p.grad is None] == []
    before: dict[str, Any] = {key: p.detach().clone() for key, p in learning.items()}
    optimizer.step()
    moved = {key for key, p in learning.items() if not torch.equal(p, before[key])}
    for key in ("head.cls_logits.weight", "head.quality_logits.bias", "fpn.lateral.0.weight"):
        assert key in moved
    assert all(p.isfinite().all() for p in learning.values())
    assert detector.eval().detect(pictures)[0].boxes_xyxy.shape[1] == 4


@pytest.mark.parametrize(
    "name",
    ["official/mnv2_syncbn_bs32_c128_1x", "adelaidet/rt_dla34_shared_bn_4x", "mmdet/r50_1x"],
)
def test_a_step_of_a_small_one(name: str) -> None:
    one_step(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", ROWS)
def test_a_step_of_every_one(name: str) -> None:
    one_step(name)


def test_a_recipe_may_start_from_torchvisions_weights_instead() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "model-zoo.md").read_text("utf-8")
    words = "model.backbone.weights=imagenet model.backbone.stride_on=3x3 model.input=null"
    assert f"`{words}`" in page
    config = composed("experiment=official/imprv_r50_1x", *words.split())
    assert config.model.backbone.stride_on == "3x3" and config.model.input is None
    config.model.backbone.weights = None
    detector = make(config, "model", class_names=["a"])
    assert detector.channel_order == "rgb" and detector.mean.flatten()[0].item() > 123
