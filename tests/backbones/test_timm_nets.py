"""Backbones of timm: derived numbers, what learns, whose weights are let in, what is refused."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from fcos_lightning.backbones.timm_nets import TimmBackbone
from fcos_lightning.detector import Backbone, build_backbone, build_fcos
from fcos_lightning.errors import UserError
from fcos_lightning.structures import Images, Target

timm = pytest.importorskip("timm")


def one_line(error: pytest.ExceptionInfo[UserError]) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize(
    ("name", "frozen_stages", "channels"),
    [
        ("dla34", 2, (128, 256, 512)),
        ("ese_vovnet57b", 2, (512, 768, 1024)),
        ("hrnet_w18", 0, (256, 512, 1024)),
        ("resnet50d", 2, (512, 1024, 2048)),
        ("mobilenetv3_large_100", 0, (40, 112, 960)),
    ],
)
def test_channels_and_strides_are_derived_and_true(
    name: str, frozen_stages: int, channels: tuple[int, ...]
) -> None:
    backbone = build_backbone(f"timm/{name}", frozen_stages=frozen_stages).eval()
    assert isinstance(backbone, Backbone)
    assert (backbone.channels, backbone.strides) == (channels, (8, 16, 32))
    with torch.no_grad():
        maps = backbone(torch.zeros(1, 3, 64, 96))
    assert [tuple(m.shape[1:]) for m in maps] == [
        (width, 64 // stride, 96 // stride)
        for width, stride in zip(channels, (8, 16, 32), strict=True)
    ]
    assert not any(isinstance(m, nn.BatchNorm2d) for m in backbone.modules())


def test_hrnets_branches_as_they_are() -> None:
    backbone = build_backbone("timm/hrnet_w18_small", frozen_stages=0, branches=True).eval()
    assert backbone.channels == (16, 32, 64, 128) and backbone.strides == (4, 8, 16, 32)
    with torch.no_grad():
        maps = backbone(torch.zeros(1, 3, 64, 96))
    assert [tuple(one.shape[1:]) for one in maps] == [
        (16, 16, 24), (32, 8, 12), (64, 4, 6), (128, 2, 3)
    ]  # fmt: skip
    with pytest.raises(UserError, match="branches=true: timm/resnet18 has none, give false"):
        build_backbone("timm/resnet18", branches=True)
    with pytest.raises(UserError, match="resnet18 takes no option branches"):
        build_backbone("resnet18", branches=True)


@pytest.mark.parametrize("norm", ["frozen", "trained"])
def test_whether_statistics_move_in_training(norm: Any) -> None:
    backbone = build_backbone("timm/resnet18", norm=norm, frozen_stages=0).train()
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    backbone(torch.randn(2, 3, 64, 64))
    moved = {k for k, v in backbone.state_dict().items() if not torch.equal(v, before[k])}
    assert bool(moved) is (norm == "trained")


def test_the_first_stages_are_frozen_and_stand_still() -> None:
    backbone = build_backbone("timm/resnet18", norm="trained", frozen_stages=2)
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    maps = nn.Sequential(backbone).train()(torch.randn(2, 3, 64, 64))
    sum(m.sum() for m in maps).backward()
    frozen = ("net.conv1.", "net.bn1.", "net.layer1.")
    for key, parameter in backbone.named_parameters():
        assert parameter.requires_grad is not key.startswith(frozen), key
        assert (parameter.grad is None) is key.startswith(frozen), key
    for key, value in backbone.state_dict().items():
        if "running" in key:
            assert torch.equal(value, before[key]) is key.startswith(frozen), key


@pytest.mark.parametrize("name", ["hrnet_w18", "dla34", "ese_vovnet57b"])
def test_all_that_may_learn_gets_a_gradient(name: str) -> None:
    backbone = build_backbone(f"timm/{name}", norm="trained", frozen_stages=0)
    sum(m.sum() for m in backbone(torch.randn(2, 3, 64, 64))).backward()
    for key, parameter in backbone.named_parameters():
        assert parameter.requires_grad is (parameter.grad is not None), key


def test_weights_from_a_file_give_timms_own_maps(tmp_path: Path) -> None:
    torch.manual_seed(0)
    plain = timm.create_model("resnet18").eval()
    with torch.no_grad():
        for key, value in plain.state_dict().items():
            if "running_mean" in key:
                value.normal_(std=0.1)
    path = tmp_path / "weights.pth"
    torch.save(plain.state_dict(), path)
    images = torch.randn(1, 3, 64, 96)
    backbone = build_backbone("timm/resnet18", weights=str(path)).eval()
    with torch.no_grad():
        wanted = plain.forward_intermediates(images, indices=[2, 3, 4], intermediates_only=True)
        for got, want in zip(backbone(images), wanted, strict=True):
            torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-4)
    state = plain.state_dict()
    del state["layer1.0.conv1.weight"]
    state["layer9.weight"] = torch.zeros(1)
    state["conv1.weight"] = torch.zeros(64, 1, 7, 7)
    torch.save(state, path)
    with pytest.raises(UserError) as error:
        build_backbone("timm/resnet18", weights=str(path))
    text = one_line(error)
    assert "1 keys missing ['layer1.0.conv1.weight'], 1 unknown ['layer9.weight']" in text
    assert "1 of other shape ['conv1.weight']" in text


def test_imagenet_asks_timm_for_its_published_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    state = timm.create_model("resnet18").state_dict()
    asked = []

    def download(model_id: str, *_: object, **options: object) -> dict[str, torch.Tensor]:
        asked.append((model_id, options.get("weights_only", True)))
        return dict(state)

    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", download)
    monkeypatch.setattr("timm.models._builder.has_hf_hub", lambda *_, **__: True)
    backbone = build_backbone("timm/resnet18.a1_in1k", weights="imagenet")
    assert asked == [("timm/resnet18.a1_in1k", True)]
    assert torch.equal(backbone.state_dict()["net.conv1.weight"], state["conv1.weight"])


def test_a_download_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("no route\nto host")

    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", fail)
    monkeypatch.setattr("timm.models._builder.has_hf_hub", lambda *_, **__: True)
    with pytest.raises(UserError, match=r"timm/resnet18 could not be had .*no route to host") as e:
        build_backbone("timm/resnet18", weights="imagenet")
    assert "give the path of a file, or null" in one_line(e)


def test_without_timm_the_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(UserError, match=r"pip install 'timm") as error:
        build_backbone("timm/dla34")
    one_line(error)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("resnet51d", {}, "timm has no such model, perhaps .*resnet50d"),
        ("hf-hub:someone/net", {}, "timm has no such model"),
        ("resnet18.nope", {}, "Invalid pretrained tag"),
        ("vit_tiny_patch16_224", {}, r"strides \[16\]; strides 8, 16 and 32 are needed"),
        ("swin_tiny_patch4_window7_224", {"norm": "trained"}, "not of any size"),
        ("convnext_atto", {}, "has no BatchNorm; give trained"),
        ("hrnet_w18_small", {"frozen_stages": 2}, "do not lie one after the other, give 0"),
        ("resnet18", {"frozen_stages": 6}, "has 5 stages, give 0 to 5"),
        ("resnet18", {"frozen_stages": -1}, "has 5 stages, give 0 to 5"),
        ("resnet18", {"widths": [1]}, "timm/resnet18 takes no option widths"),
        ("resnet18", {"stride_on": "1x1"}, "timm/resnet18 has none"),
        ("resnet18", {"weights": "nowhere.pth"}, "no such file"),
    ],
)
def test_what_is_refused(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        build_backbone(f"timm/{name}", **options)
    one_line(error)


def test_nets_without_batchnorm_are_taken_as_they_are() -> None:
    backbone = build_backbone("timm/convnext_atto", norm="trained", frozen_stages=1)
    assert isinstance(backbone, TimmBackbone)
    assert backbone.channels == (80, 160, 320)


def test_a_step_of_a_detector_of_three_levels() -> None:
    detector = build_fcos(
        num_classes=2,
        backbone={"name": "timm/dla34", "norm": "trained", "frozen_stages": 0},
        fpn={"levels": [3, 4, 5], "channels": 32},
        head={"num_convs": 0, "shared_convs": 2, "norm": "batch"},
    ).train()
    pictures = [torch.randint(0, 256, (3, 90, 120), dtype=torch.uint8) for _ in range(2)]
    images = Images.pad(pictures, detector.size_multiple)
    targets = [Target(torch.tensor([[10.0, 10.0, 60.0, 70.0]]), torch.tensor([1]))] * 2
    points = detector.grid(images)
    losses = detector.loss(detector(images), detector.assign(points, targets), points)
    (losses.terms["cls"] + losses.terms["box"] + losses.terms["quality"]).backward()
    for key, parameter in detector.named_parameters():
        assert parameter.requires_grad is (parameter.grad is not None), key
    again = build_fcos(**{k: v for k, v in detector.spec.items() if k != "custom"})
    again.load_state_dict(detector.state_dict())


@pytest.mark.parametrize("name", ["resnet18", "mobilenetv2_100", "dla34", "convnext_tiny"])
def test_each_weight_lies_in_one_stage_and_the_stages_in_order(name: str) -> None:
    backbone = TimmBackbone(name, norm="trained")
    stages = backbone.ordered_stages()
    place_of: dict[int, int] = {}
    for place, modules in enumerate(stages):
        for module in modules:
            for parameter in module.parameters():
                assert place_of.setdefault(id(parameter), place) == place
    assert set(place_of) == {id(parameter) for parameter in backbone.parameters()}
    # A map depends on the stages up to its own alone.
    declared: Any = backbone.net.feature_info
    reduced = [info["reduction"] for info in declared.info]
    maps = backbone(torch.rand(1, 3, 64, 96))
    for stride, one in zip(backbone.strides, maps, strict=True):
        learning = list(backbone.parameters())
        found = torch.autograd.grad(one.sum(), learning, retain_graph=True, allow_unused=True)
        used = {place_of[id(p)] for p, g in zip(learning, found, strict=True) if g is not None}
        assert max(used) == reduced.index(stride)


def test_stages_that_lie_beside_one_another_are_no_stages() -> None:
    with pytest.raises(UserError, match="layer_lr_decay: the stages of timm/hrnet_w18_small do"):
        TimmBackbone("hrnet_w18_small", norm="trained").ordered_stages()
