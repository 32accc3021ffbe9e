import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torchvision.models.detection import fcos_resnet50_fpn

from fcos_lightning import build_fcos, load_detector
from fcos_lightning.checkpoints import Checkpoint
from fcos_lightning.checkpoints.layouts.torchvision_fcos import for_torchvision
from fcos_lightning.checkpoints.plain_file import write_weights
from fcos_lightning.errors import UserError

TINY = {"name": "tiny", "frozen_stages": 0, "norm": "trained", "widths": [8, 8, 8, 8]}
SMALL = {"backbone": TINY, "fpn": {"channels": 16, "levels": [3, 4]}, "head": {"num_convs": 1}}


def test_a_plain_file_is_the_same_detector(tmp_path: Path) -> None:
    torch.manual_seed(0)
    before = build_fcos(class_names=["cat", "dog"], category_ids=[3, 7], **SMALL).eval()
    about = {"shorter_side": 480}
    kept = Checkpoint(tmp_path / "a.ckpt", before.spec, before.state_dict(), about, {"epoch": 3})
    kept.write(tmp_path / "a.safetensors")
    after = load_detector(tmp_path / "a.safetensors")
    assert after.spec == before.spec and after.category_ids == (3, 7)
    for key, value in before.state_dict().items():
        assert torch.equal(value, after.state_dict()[key])
    assert Checkpoint.read(tmp_path / "a.safetensors").about == about
    with safe_open(tmp_path / "a.safetensors", framework="pt") as file:  # for other tools
        assert json.loads(file.metadata()["fcos"])["spec"]["class_names"] == ["cat", "dog"]
        assert "head.scales" in file.keys()  # noqa: SIM118
    assert [file.name for file in tmp_path.iterdir()] == ["a.safetensors"]


def test_what_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        write_weights({"a": torch.ones(1)}, tmp_path / "file" / "a.pth")


def test_a_plain_file_that_is_not_ours(tmp_path: Path) -> None:
    write_weights({"a": torch.ones(1)}, tmp_path / "a.safetensors")
    with pytest.raises(UserError, match="nor of a layout known here"):
        load_detector(tmp_path / "a.safetensors")
    (tmp_path / "b.safetensors").write_bytes(b"\x08" + bytes(20))
    with pytest.raises(UserError, match="not a readable file"):
        load_detector(tmp_path / "b.safetensors")


def test_torchvision_and_back_loses_nothing(tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = fcos_resnet50_fpn(weights=None, weights_backbone=None, num_classes=5).state_dict()
    torch.save(theirs, tmp_path / "theirs.pth")
    before = Checkpoint.read(tmp_path / "theirs.pth")
    before.write(tmp_path / "ours.safetensors")
    for name in ("back.pth", "back.safetensors"):
        ours = Checkpoint.read(tmp_path / "ours.safetensors")
        weights, otherwise = for_torchvision(ours.spec, ours.weights, name)
        assert otherwise == []
        write_weights(weights, tmp_path / name)
        again = Checkpoint.read(tmp_path / name)
        assert (again.spec, again.about) == (before.spec, before.about)
        assert again.weights.keys() == before.weights.keys()
        for key, value in again.weights.items():
            assert torch.equal(value, before.weights[key])
    back = torch.load(tmp_path / "back.pth", weights_only=True)
    assert back.keys() == theirs.keys()
    for key, value in theirs.items():
        assert torch.equal(value, back[key])
    fcos_resnet50_fpn(weights=None, weights_backbone=None, num_classes=5).load_state_dict(back)


def test_what_torchvision_has_no_place_for(tmp_path: Path) -> None:
    detector = build_fcos(num_classes=2, backbone={"weights": None})
    state = detector.state_dict()
    weights, otherwise = for_torchvision(detector.spec, state, "a.ckpt")
    assert len(weights) == len(state) - 1  # all but the scales, which are 1
    assert {"grid", "decoder"} <= set(otherwise)
    state["head.scales"] = torch.tensor([1.0, 1.0, 1.1, 1.0, 1.0])
    with pytest.raises(UserError, match="has no scales of levels"):
        for_torchvision(detector.spec, state, "a.ckpt")
    small = build_fcos(num_classes=2, **SMALL)
    with pytest.raises(UserError, match=r"no place for \d+ of its weights: backbone\.stages"):
        for_torchvision(small.spec, small.state_dict(), "a.ckpt")
