"""Backbones: declared and actual maps, what learns, and which files are let in."""

import os
import pickle
import urllib.error
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torchvision.ops import FrozenBatchNorm2d

from fcos_lightning.backbones.build import StagedBackbone
from fcos_lightning.detector import Backbone, build_backbone
from fcos_lightning.errors import UserError

RESNETS = ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"]
NAMES = [*RESNETS, "mobilenet_v2", "tiny"]
MNV2 = Path("weights", "mobilenet_v2_imagenet_features.pth")


@pytest.fixture(scope="session")
def mnv2(shared: Path) -> Path:
    return shared / MNV2


def one_line(error: pytest.ExceptionInfo[UserError]) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize("name", NAMES)
def test_declared_channels_and_strides_are_the_actual_ones(name: str) -> None:
    backbone = build_backbone(name).eval()
    assert isinstance(backbone, Backbone)
    with torch.no_grad():
        maps = backbone(torch.zeros(1, 3, 64, 64))
    assert [m.shape[1] for m in maps] == list(backbone.channels)
    assert [64 // m.shape[2] for m in maps] == list(backbone.strides) == [8, 16, 32]
    assert [64 // m.shape[3] for m in maps] == list(backbone.strides)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "tiny"])
def test_sizes_that_no_stride_divides_are_rounded_up(name: str) -> None:
    with torch.no_grad():
        maps = build_backbone(name).eval()(torch.zeros(1, 3, 37, 70))
    assert [tuple(m.shape[-2:]) for m in maps] == [(5, 9), (3, 5), (2, 3)]


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "mobilenet_v2", "tiny"])
@pytest.mark.parametrize(
    ("norm", "layer", "other"),
    [
        ("frozen", FrozenBatchNorm2d, nn.BatchNorm2d),
        ("trained", nn.BatchNorm2d, FrozenBatchNorm2d),
    ],
)
def test_norm(name: str, norm: Any, layer: type[nn.Module], other: type[nn.Module]) -> None:
    modules = list(build_backbone(name, norm=norm).modules())
    assert any(isinstance(module, layer) for module in modules)
    assert not any(isinstance(module, other) for module in modules)


@pytest.mark.parametrize("norm", ["frozen", "trained"])
def test_whether_statistics_move_in_training(norm: Any) -> None:
    backbone = build_backbone("tiny", norm=norm, frozen_stages=0).train()
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    backbone(torch.randn(2, 3, 64, 64))
    moved = [k for k, v in backbone.state_dict().items() if not torch.equal(v, before[k])]
    assert bool(moved) is (norm == "trained")


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "tiny"])
@pytest.mark.parametrize("k", [0, 1, 2, 5])
def test_exactly_the_first_stages_are_frozen(name: str, k: int) -> None:
    backbone = build_backbone(name, norm="trained", frozen_stages=k)
    assert len(backbone.stages) == 5
    for index, stage in enumerate(backbone.stages):
        assert {p.requires_grad for p in stage.parameters()} == {index >= k}
    # A trainer calls train() on the whole module at every epoch.
    parent = nn.Sequential(backbone).train()
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    maps = parent(torch.randn(2, 3, 64, 64))
    for key, value in backbone.state_dict().items():
        stage_index = int(key.split(".")[1])
        if "running" in key:
            assert torch.equal(value, before[key]) is (stage_index < k), key
    for index, stage in enumerate(backbone.stages):
        norms = [m for m in stage.modules() if isinstance(m, nn.BatchNorm2d)]
        assert norms
        assert {m.training for m in norms} == {index >= k}
    if k < 5:
        sum(m.sum() for m in maps).backward()
        for index, stage in enumerate(backbone.stages):
            assert {p.grad is not None for p in stage.parameters()} == {index >= k}
    parent.eval()
    assert not any(m.training for m in backbone.modules())


@pytest.mark.parametrize("k", [-1, 6])
def test_more_frozen_stages_than_there_are(k: int) -> None:
    with pytest.raises(UserError, match=rf"frozen_stages={k}.*give 0 to 5"):
        build_backbone("tiny", frozen_stages=k)


@pytest.mark.parametrize("norm", ["frozen", "trained"])
def test_published_weights_give_torchvisions_own_maps(mnv2: Path, norm: Any) -> None:
    backbone = build_backbone("mobilenet_v2", weights=str(mnv2), norm=norm).eval()
    net = torchvision.models.mobilenet_v2(weights=None)
    loaded = net.load_state_dict(torch.load(mnv2, weights_only=True), strict=False)
    assert not loaded.unexpected_keys
    assert all(key.startswith("classifier.") for key in loaded.missing_keys)
    net.eval()
    x = torch.randn(1, 3, 96, 128, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        maps = backbone(x)
        for index, layer in enumerate(net.features[:18]):
            x = layer(x)
            if index in (6, 13, 17):
                torch.testing.assert_close(maps[(6, 13, 17).index(index)], x, rtol=1e-4, atol=1e-4)
    assert maps[2].std() > 0.1  # trained weights, not noise that fades


@pytest.mark.parametrize("norm", ["frozen", "trained"])
def test_resnet_weights_with_and_without_the_classifier(tmp_path: Path, norm: Any) -> None:
    torch.manual_seed(0)
    net = torchvision.models.resnet18(weights=None).eval()
    with torch.no_grad():
        for key, value in net.state_dict().items():
            if "running_mean" in key:
                value.normal_(std=0.1)
    whole = net.state_dict()
    headless = {k: v for k, v in whole.items() if not k.startswith("fc.")}
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        y = net.maxpool(net.relu(net.bn1(net.conv1(x))))
        c3 = net.layer2(net.layer1(y))
        c4 = net.layer3(c3)
        expected = [c3, c4, net.layer4(c4)]
    for number, state in enumerate((whole, headless)):
        path = tmp_path / f"{number}.pth"
        torch.save(state, path)
        backbone = build_backbone("resnet18", weights=str(path), norm=norm).eval()
        with torch.no_grad():
            for got, wanted in zip(backbone(x), expected, strict=True):
                torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4)


class Payload:
    """Runs a command when a careless reader unpickles it."""

    def __init__(self, touch: Path) -> None:
        self.touch = touch

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (f"touch {self.touch}",)


@pytest.mark.parametrize("how", ["torch.save", "torch.save legacy", "pickle", "in a dict"])
def test_code_hidden_in_a_weights_file_does_not_run(tmp_path: Path, how: str) -> None:
    path, touched = tmp_path / "evil.pth", tmp_path / "touched"
    if how == "pickle":
        path.write_bytes(pickle.dumps(Payload(touched), protocol=2))
    elif how == "in a dict":
        torch.save({"conv1.weight": torch.zeros(1), "x": Payload(touched)}, path)
    else:
        torch.save(Payload(touched), path, _use_new_zipfile_serialization=how == "torch.save")
    with pytest.raises(UserError, match="plain data; nothing in it was run") as e:
        build_backbone("resnet18", weights=str(path))
    assert str(path) in one_line(e)
    assert not touched.exists()
    # The payload is a real one.
    torch.load(path, weights_only=False) if how != "pickle" else pickle.loads(path.read_bytes())
    assert touched.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([torch.zeros(1)], "expected a state dict"),
        (torch.zeros(1), "expected a state dict"),
        ({"epoch": 3}, "expected a state dict"),
        ({0: torch.zeros(1)}, "expected a state dict"),
        ({"state_dict": {"conv1.weight": torch.zeros(1)}}, "expected a state dict"),
        ({}, r"missing \(first: bn1\.bias\)"),
    ],
)
def test_files_that_hold_no_state_dict(tmp_path: Path, content: Any, message: str) -> None:
    path = tmp_path / "weights.pth"
    torch.save(content, path)
    with pytest.raises(UserError, match=message) as error:
        build_backbone("resnet18", weights=str(path))
    assert str(path) in one_line(error)


def test_bytes_that_are_no_weights(tmp_path: Path) -> None:
    for name, content in (("empty", b""), ("text", b"hello, world"), ("half", b"PK\x03\x04")):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(UserError, match="not a readable file of plain data") as error:
            build_backbone("resnet18", weights=str(path))
        one_line(error)


@pytest.mark.parametrize("place", ["nowhere.pth", "."])
def test_no_such_weights(tmp_path: Path, place: str) -> None:
    with pytest.raises(UserError, match="no such file"):
        build_backbone("resnet18", weights=str(tmp_path / place))


def test_wrong_missing_and_extra_keys_are_counted_and_named(tmp_path: Path) -> None:
    state = torchvision.models.resnet18(weights=None).state_dict()
    del state["layer1.0.conv1.weight"]
    state["layer9.weight"] = torch.zeros(1)
    state["conv1.weight"] = torch.zeros(64, 1, 7, 7)
    path = tmp_path / "weights.pth"
    torch.save(state, path)
    with pytest.raises(UserError) as error:
        build_backbone("resnet18", weights=str(path))
    text = one_line(error)
    assert "1 missing (first: layer1.0.conv1.weight)" in text
    assert "1 unknown (first: layer9.weight)" in text
    assert "1 of other shape (first: conv1.weight)" in text


def test_weights_of_another_network(mnv2: Path) -> None:
    with pytest.raises(UserError, match="not weights of torchvision's resnet18"):
        build_backbone("resnet18", weights=str(mnv2))


@pytest.mark.parametrize(
    "failure",
    [
        urllib.error.URLError("no route to host"),
        RuntimeError('invalid hash value (expected "f37072fd", got "00000000")'),
        ConnectionResetError("reset by peer"),
    ],
)
@pytest.mark.parametrize("name", ["resnet50", "mobilenet_v2"])
def test_a_download_that_fails(
    monkeypatch: pytest.MonkeyPatch, name: str, failure: Exception
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise failure

    monkeypatch.setattr("torch.hub.load_state_dict_from_url", fail)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", fail)
    with pytest.raises(UserError, match=f"weights of {name} could not be downloaded") as error:
        build_backbone(name, weights="imagenet")
    assert "give the path of a file, or null" in one_line(error)


def test_imagenet_means_the_first_version_checked_by_its_hash(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = []
    state = torchvision.models.resnet18(weights=None).state_dict()

    def download(url: str, **options: object) -> dict[str, Tensor]:
        calls.append((url, options.get("check_hash")))
        return state

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", download)
    backbone = build_backbone("resnet18", weights="imagenet")
    v1 = torchvision.models.ResNet18_Weights.IMAGENET1K_V1
    assert calls == [(v1.url, True)]
    assert torch.equal(backbone.state_dict()["stages.0.0.weight"], state["conv1.weight"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "resnet19"}, r"model\.backbone\.name=resnet19: no such backbone"),
        ({"name": "resnet18", "widths": [1]}, "resnet18 takes no option widths"),
        ({"name": "mobilenet_v2", "a": 1, "b": 2}, "mobilenet_v2 takes no option a, b"),
        ({"name": "tiny", "width": [1]}, "tiny takes no option width"),
        ({"name": "tiny", "norm_layer": None}, "tiny takes no option norm_layer"),
        ({"name": "tiny", "weights": "imagenet"}, "there are none for tiny"),
        ({"name": "resnet18", "norm": "froze"}, r"norm=froze: give one of frozen, trained"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        build_backbone(**options)
    one_line(error)


def test_options_of_tiny() -> None:
    backbone = build_backbone("tiny", widths=(8, 16, 24, 40, 48), depths=(1, 1, 1, 1, 1))
    assert backbone.channels == (16, 24, 40, 48)
    assert backbone.strides == (8, 16, 32, 64)
    maps = backbone.eval()(torch.zeros(1, 3, 64, 64))
    assert [tuple(m.shape[1:3]) for m in maps] == [(16, 8), (24, 4), (40, 2), (48, 1)]


def test_stages_of_your_own() -> None:
    stages = [nn.Conv2d(3, 4, 3, 8, 1), nn.Conv2d(4, 6, 3, 2, 1)]
    backbone = StagedBackbone(stages, [0, 1], [4, 6], [8, 16], frozen_stages=1)
    assert [tuple(m.shape) for m in backbone(torch.zeros(1, 3, 32, 32))] == [
        (1, 4, 4, 4),
        (1, 6, 2, 2),
    ]
    assert [p.requires_grad for p in backbone.parameters()] == [False, False, True, True]


@pytest.mark.parametrize(("stride_on", "where"), [(None, 1), ("3x3", 1), ("1x1", 0)])
def test_the_convolution_that_halves_the_resolution(stride_on: str | None, where: int) -> None:
    backbone = build_backbone("resnet50", stride_on=stride_on)  # type: ignore[arg-type]
    for stage in backbone.stages[2:]:
        first = stage[0]  # type: ignore[index]
        strides = [first.conv1.stride, first.conv2.stride]
        assert strides[where] == (2, 2) and strides[1 - where] == (1, 1)
    assert backbone.stages[1][0].conv2.stride == (1, 1)  # type: ignore[index]
    maps = backbone(torch.randn(1, 3, 64, 96))
    assert [tuple(m.shape[-2:]) for m in maps] == [(8, 12), (4, 6), (2, 3)]


def test_where_the_stride_sits_changes_the_maps_but_not_the_weights() -> None:
    late, early = build_backbone("resnet50"), build_backbone("resnet50", stride_on="1x1")
    early.load_state_dict(late.state_dict())
    images = torch.randn(1, 3, 64, 64)
    assert not torch.allclose(late(images)[0], early(images)[0])


@pytest.mark.parametrize(
    ("name", "stride_on", "message"),
    [
        ("resnet50", "5x5", "stride_on=5x5: give one of 3x3, 1x1"),
        ("resnet18", "1x1", "stride_on=1x1: the blocks of resnet18 are no bottlenecks"),
        ("mobilenet_v2", "3x3", "mobilenet_v2 has none"),
        ("tiny", "1x1", "tiny has none"),
    ],
)
def test_a_stride_where_there_is_no_such_convolution(
    name: str, stride_on: str, message: str
) -> None:
    with pytest.raises(UserError, match=message) as error:
        build_backbone(name, stride_on=stride_on)  # type: ignore[arg-type]
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "groups", "width", "parameters"),
    [("resnext101_32x8d", 32, 256, 86_742_336), ("resnext101_64x4d", 64, 256, 81_406_272)],
)
def test_resnext(name: str, groups: int, width: int, parameters: int) -> None:
    with torch.device("meta"):
        backbone = build_backbone(name, norm="trained")
        maps = backbone(torch.zeros(1, 3, 64, 64))
    assert [tuple(m.shape[1:3]) for m in maps] == [(512, 8), (1024, 4), (2048, 2)]
    conv = backbone.stages[1][0].conv2  # type: ignore[index]
    assert (conv.groups, conv.out_channels) == (groups, width)
    # torchvision's own figure, less the classifier's 2048 * 1000 + 1000.
    weights = torchvision.models.get_model_weights(name)["IMAGENET1K_V1"]
    assert sum(p.numel() for p in backbone.parameters()) == parameters
    assert weights.meta["num_params"] - 2_049_000 == parameters


@pytest.mark.parametrize("stride_on", ["3x3", "1x1"])
def test_deformable_stages_start_as_ordinary_ones_and_learn_otherwise(
    stride_on: Any, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    path = tmp_path / "weights.pth"
    torch.save(torchvision.models.resnet50(weights=None).state_dict(), path)
    plain, deformable = (
        # In float64: what fifty layers of random weights make of rounding depends on the processor.
        build_backbone("resnet50", str(path), stride_on=stride_on, deformable_stages=stages)
        .eval()
        .double()
        for stages in ((), (4, 5))
    )
    images = torch.randn(1, 3, 64, 96, dtype=torch.float64)
    for got, wanted in zip(deformable(images), plain(images), strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-9, atol=1e-9)
    for index, stage in enumerate(deformable.stages):
        kinds = {type(m).__name__ for m in stage.modules()}
        assert ("DeformableConv2d" in kinds) is (index in (3, 4))
    assert len(deformable.stages[3]) == 6  # type: ignore[arg-type]
    extra = set(deformable.state_dict()) - set(plain.state_dict())
    assert len(extra) == 2 * (6 + 3)
    key = "stages.3.0.conv2.offset.weight"
    assert key in extra and deformable.state_dict()[key].shape == (27, 256, 3, 3)
    sum(m.sum() for m in deformable(images)).backward()
    offset = deformable.stages[4][2].conv2.offset  # type: ignore[index, union-attr]
    assert offset.weight.grad.abs().sum() > 0 and offset.bias.grad[:18].abs().sum() > 0


@pytest.mark.parametrize(
    ("name", "stages", "message"),
    [
        ("resnet50", [1], r"deformable_stages=\[1\]: give some of 2, 3, 4, 5"),
        ("resnet50", [3, 6], "give some of 2, 3, 4, 5"),
        ("resnet34", [5], "deformable_stages: the blocks of resnet34 are no bottlenecks"),
        ("mobilenet_v2", [5], "deformable_stages: mobilenet_v2 has none"),
    ],
)
def test_deformable_stages_that_there_are_not(name: str, stages: list[int], message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        build_backbone(name, deformable_stages=stages)
    one_line(error)
