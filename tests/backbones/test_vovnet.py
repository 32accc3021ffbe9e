"""VoVNet: against timm's where both are the same net, and its authors' files."""

import re
from pathlib import Path

import pytest
import torch
from torch import Tensor

from fcos_lightning.backbones.vovnet import own_key
from fcos_lightning.detector import build_backbone
from fcos_lightning.errors import UserError

#: V-19-slim-eSE: with one block a stage, timm's attention is in every block as well.
SLIM = {
    "blocks": [1, 1, 1, 1],
    "layers": 3,
    "widths": [64, 80, 96, 112],
    "channels": [112, 256, 384, 512],
}


def authors_name(key: str) -> str:
    """Return vovnet-detectron2's name for one of timm's."""
    key = re.sub(r"\.bn\.", "/norm.", re.sub(r"\.conv\.", "/conv.", key))
    stem = re.sub(r"^stem\.(\d)", lambda m: f"stem.stem_{int(m[1]) + 1}", key)
    if match := re.fullmatch(r"stages\.(\d)\.blocks\.(\d)\.(.+)", stem):
        name = f"OSA{int(match[1]) + 2}_{int(match[2]) + 1}"
        rest = re.sub(r"^conv_mid\.(\d)", rf"layers.\1.{name}_\1", match[3])
        rest = rest.replace("conv_concat", f"concat.{name}_concat").replace("attn.fc", "ese.fc")
        return f"stage{int(match[1]) + 2}.{name}.{rest}"
    return stem


def saved(state: dict[str, Tensor], file: Path) -> str:
    torch.save({"model": state}, file)
    return str(file)


def test_the_maps_of_timms_net_from_a_file_of_the_authors(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    net = timm.create_model("ese_vovnet19b_slim").eval()
    for name, value in net.state_dict().items():
        if "running" in name or name.endswith("bn.weight"):
            value.uniform_(0.5, 1.5)
    state = {authors_name(key): value for key, value in net.state_dict().items()}
    state = {key.replace("head.fc.", "classifier."): value for key, value in state.items()}
    weights = saved(state, tmp_path / "a.pth")
    backbone = build_backbone("vovnet", weights, norm="trained", frozen_stages=0, **SLIM).eval()
    image = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        expected = net.forward_intermediates(image, intermediates_only=True)[-3:]
        ours = backbone(image)
    assert [m.shape[1] for m in ours] == list(backbone.channels) == [256, 384, 512]
    assert list(backbone.strides) == [8, 16, 32]
    for got, wanted in zip(ours, expected, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5)


def test_depths_and_attention() -> None:
    for blocks, attention in (((1, 1, 2, 2), True), ((1, 1, 4, 3), False)):
        backbone = build_backbone("vovnet", blocks=blocks, attention=attention)
        keys = list(backbone.state_dict())
        gates = [key for key in keys if key.endswith("gate.weight")]
        merges = [key for key in keys if key.endswith("merge.0.weight")]
        assert len(merges) == sum(blocks) and len(gates) == (len(merges) if attention else 0)
        shortcuts = [m.shortcut for m in backbone.modules() if hasattr(m, "shortcut")]
        assert shortcuts.count(False) == 4  # the first block of each stage


@pytest.mark.parametrize(
    "name",
    [
        "stem.stem_4/conv.weight",
        "stage2.OSA3_1.ese.fc.weight",
        "stage2.OSA2_1.layers.0.OSA2_1_1/conv.weight",
        "stage2.OSA2_1.layers.0.OSA2_2_0/conv.weight",
        "stage2.OSA2_1.concat.OSA2_1_0/conv.weight",
        "conv1.weight",
    ],
)
def test_names_that_the_authors_do_not_use(name: str) -> None:
    assert own_key(name) is None


def test_weights_that_do_not_fit(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="none to download for vovnet"):
        build_backbone("vovnet", "imagenet")
    weights = saved({"stem.stem_1/conv.weight": torch.zeros(64, 3, 3, 3)}, tmp_path / "a.pth")
    with pytest.raises(UserError, match="keys are missing, unknown or of another shape"):
        build_backbone("vovnet", weights)
    with pytest.raises(UserError, match="takes no option depths"):
        build_backbone("vovnet", depths=[1])
