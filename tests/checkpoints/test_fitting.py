"""A detector is never larger than the weights that its file holds."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn

from fcos_lightning import build_fcos, load_detector
from fcos_lightning.checkpoints import describe
from fcos_lightning.checkpoints.fitting import Unfilled, check_fit, without_memory
from fcos_lightning.errors import UserError

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))

from hostile.mutations import OPTIONS  # noqa: E402
from hostile.payloads import bombs  # noqa: E402

DESCRIPTIONS = {
    name: content
    for name, content in bombs().items()
    if name.endswith(".ckpt") and b"shorter_side" in content
}


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail where anything asks for the network, whatever becomes of the error."""
    asked: list[object] = []

    def refuse(*args: object, **_: object) -> None:
        asked.append(args)
        raise OSError("offline")

    for name in ("create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    yield
    assert not asked


def test_weights_are_never_fetched_or_read_from_elsewhere(
    tmp_path: Path, offline: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The weights fit, so that nothing but this stands in the way.
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "nothing here yet"))
    options = {"num_classes": 2, "fpn": {"channels": 16}, "head": {"num_convs": 1}}
    other = tmp_path / "other.pth"
    for name in ("resnet18", "timm/resnet10t"):
        detector = build_fcos(backbone={"name": name, "frozen_stages": 0}, **options)
        state = {f"detector.{key}": value for key, value in detector.state_dict().items()}
        for weights in ("imagenet", str(other)):
            described = describe(detector)
            described["spec"]["backbone"] = {**described["spec"]["backbone"], "weights": weights}
            torch.save({"state_dict": state, "fcos": described}, tmp_path / "a.ckpt")
            assert load_detector(tmp_path / "a.ckpt").spec["backbone"]["weights"] is None
    assert not (tmp_path / "nothing here yet").exists()


@pytest.mark.parametrize("name", DESCRIPTIONS)
def test_a_description_asks_for_no_more_than_its_file_holds(
    tmp_path: Path, name: str, offline: None, little_memory: None
) -> None:
    file = tmp_path / name
    file.write_bytes(DESCRIPTIONS[name])
    began = time.process_time()
    with pytest.raises(UserError) as caught:
        load_detector(file)
    assert "memory" not in str(caught.value)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 1000
    assert time.process_time() - began < 20


def test_parts_are_counted_while_they_are_made() -> None:
    options = {**OPTIONS, "num_classes": 2, "head": {"num_convs": 100_000}}
    with pytest.raises(UserError, match="far more than its 100 weights"):
        without_memory(options, 100)
    # The count ends with the detector.
    assert len(nn.Sequential(*(nn.Linear(2, 2) for _ in range(5000)))) == 5000


@pytest.mark.parametrize(
    "backbone",
    [
        *({"name": name} for name in ("resnet152", "mobilenet_v2", "vovnet")),
        {"name": "resnet50", "deformable_stages": [3, 4, 5], "stride_on": "1x1"},
        {"name": "timm/dla34", "frozen_stages": 0},
        {"name": "timm/convnext_atto", "norm": "trained", "frozen_stages": 0},
    ],
)
def test_every_detector_fits_its_own_weights(backbone: dict[str, object]) -> None:
    # Levels that leave most of the net out, so that far more is made than stays.
    for levels in ([3, 4, 5, 6, 7], [3]):
        options = {"num_classes": 3, "backbone": backbone, "fpn": {"levels": levels}}
        weights = without_memory(options, 100_000).state_dict()
        assert all(weight.is_meta for weight in weights.values())
        check_fit(options, weights)


def test_shapes_without_memory_are_those_of_the_detector() -> None:
    options = {**OPTIONS, "num_classes": 2}
    own = build_fcos(**options).state_dict()
    without = without_memory(options, len(own)).state_dict()
    assert {k: v.shape for k, v in own.items()} == {k: v.shape for k, v in without.items()}


def test_what_is_not_a_weight_is_made_as_ever(tmp_path: Path) -> None:
    # Loading leaves the random start out, and nothing else.
    before = build_fcos(num_classes=2, point_offset=0.25, **OPTIONS).eval()
    state = {f"detector.{key}": value for key, value in before.state_dict().items()}
    torch.save({"state_dict": state, "fcos": describe(before)}, tmp_path / "a.ckpt")
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    after = load_detector(tmp_path / "a.ckpt")
    assert torch.equal(torch.rand(3), expected)  # nor does it draw any numbers
    for (name, one), (_, other) in zip(before.named_buffers(), after.named_buffers(), strict=True):
        assert torch.equal(one, other), name
    with Unfilled():
        norm = torchvision.models.resnet18(weights=None).bn1
    assert torch.equal(norm.weight, torch.ones(64))
