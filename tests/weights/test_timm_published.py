"""timm's weights of torchvision's nets are for those nets, and what cannot be had is one line."""

from typing import Any

import pytest
import torch
import torchvision

from fcos_lightning.detector import build_backbone
from fcos_lightning.errors import UserError
from fcos_lightning.weights.timm_names import from_timm
from fcos_lightning.weights.timm_published import BETTER

timm = pytest.importorskip("timm")


@pytest.mark.parametrize("name", BETTER)
def test_what_is_named_is_published_for_that_net(name: str) -> None:
    assert BETTER[name] in timm.list_pretrained()
    with torch.device("meta"):
        theirs = from_timm(timm.create_model(BETTER[name]).state_dict())
        ours = torchvision.models.get_model(name, weights=None).state_dict()
    assert {k: v.shape for k, v in theirs.items() if not k.startswith("classifier")} == {
        k: v.shape for k, v in ours.items() if not k.startswith("classifier")
    }
    described = timm.get_pretrained_cfg(BETTER[name])
    assert described.mean == (0.485, 0.456, 0.406) and described.std == (0.229, 0.224, 0.225)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Instead of a download, random weights, the same for a name each time."""
    tags: list[str] = []
    make = timm.create_model

    def create(tag: str, pretrained: bool = False, **options: Any) -> torch.nn.Module:
        assert pretrained
        tags.append(tag)
        torch.manual_seed(1)
        net: torch.nn.Module = make(tag, pretrained=False, **options)
        return net

    monkeypatch.setattr(timm, "create_model", create)
    return tags


def test_they_fill_a_backbone(asked: list[str]) -> None:
    for weights in ("timm", "timm/resnet18.a2_in1k"):
        backbone = build_backbone("resnet18", weights=weights, norm="trained", frozen_stages=0)
        torch.manual_seed(1)
        net = timm.models.resnet18()
        given = {id(p) for p in net.fc.parameters()}
        for mine, theirs in zip(
            backbone.parameters(), (p for p in net.parameters() if id(p) not in given), strict=True
        ):
            assert torch.equal(mine, theirs)
    assert asked == ["resnet18.a1_in1k", "resnet18.a2_in1k"]


def test_what_cannot_be_had_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    for weights, said in (
        ("timm/resnet18.none", "timm has no such weights; of resnet18 there are resnet18.a1_in1k"),
        ("timm/resnet50.a1_in1k", "not weights of torchvision's resnet18"),
        ("timm", "could not be had (no network"),
    ):

        def create(tag: str, pretrained: bool = False) -> torch.nn.Module:
            if tag == "resnet18.a1_in1k":
                raise OSError("no network\nhere")
            with torch.device("meta"):
                net: torch.nn.Module = timm.models.resnet50()
            return net

        monkeypatch.setattr(timm, "create_model", create)
        with pytest.raises(UserError) as caught:
            build_backbone("resnet18", weights=weights)
        assert said in str(caught.value) and "\n" not in str(caught.value)


def test_a_file_of_that_name_comes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "timm").mkdir()
    (tmp_path / "timm/mine.pth").write_bytes(b"no weights")
    with pytest.raises(UserError, match=r"timm/mine\.pth"):
        build_backbone("resnet18", weights="timm/mine.pth")
