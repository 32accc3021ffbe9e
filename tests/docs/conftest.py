"""What the programs of the pages find where they run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fcos_lightning import build_fcos
from fcos_lightning.checkpoints import describe


@pytest.fixture
def folder_of_a_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder with a checkpoint and photographs twice as large as it wants them."""
    torch.manual_seed(0)
    detector = build_fcos(
        class_names=["cat", "dog"],
        backbone={"name": "tiny", "norm": "trained", "frozen_stages": 0},
        fpn={"channels": 32, "levels": [3, 4]},
        head={"num_convs": 1},
        decoder={"score_threshold": 0.0, "max_detections": 5},
    )
    with torch.no_grad():
        detector.head.cls_logits.bias.fill_(3.0)
    weights = {f"detector.{key}": value for key, value in detector.state_dict().items()}
    about = describe(detector, shorter_side=64, longer_side=96)
    torch.save({"fcos": about, "state_dict": weights}, tmp_path / "best.ckpt")
    for seed, name in enumerate(("photo.jpg", "a.jpg", "b.jpg")):
        pixels = np.random.default_rng(seed).integers(0, 256, (128, 192, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path
