from pathlib import Path

import pytest
import torch

from fcos_lightning.detector import build_backbone


def test_timm(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    from safetensors.torch import save_file

    torch.manual_seed(0)
    for theirs, name in (("resnet18", "resnet18"), ("mobilenetv2_100", "mobilenet_v2")):
        net = timm.create_model(theirs, pretrained=False).eval()
        file = tmp_path / f"{theirs}.safetensors"
        save_file(net.state_dict(), file)
        filled = build_backbone(name, weights=str(file), norm="trained").eval()
        image = torch.randn(1, 3, 64, 64)
        features = timm.create_model(theirs, pretrained=False, features_only=True).eval()
        wanted = {k: v for k, v in net.state_dict().items() if k in features.state_dict()}
        features.load_state_dict(wanted, strict=False)
        for ours, expected in zip(filled(image), features(image)[-3:], strict=True):
            torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)
