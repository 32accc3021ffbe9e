"""rosinality's files: what they are recognised by, and their conventions."""

import re
from pathlib import Path

import pytest
import torch

from fcos_lightning import load_detector
from fcos_lightning.backbones.vovnet import own_key
from fcos_lightning.checkpoints import Checkpoint
from fcos_lightning.checkpoints.translation.foreign import LAYOUTS, translated
from fcos_lightning.detector import FCOSLoss, NMSDecoder, build_detector
from fcos_lightning.errors import UserError


def weights_of(blocks: tuple[int, ...], half: bool = False) -> dict[str, torch.Tensor]:
    """A checkpoint under rosinality's keys; of V27-slim, whose widths are half."""
    widths = [64 + 16 * n for n in range(4)] if half else [128, 160, 192, 224]
    channels = [128, 256, 384, 512] if half else [256, 512, 768, 1024]
    with torch.device("meta"):
        detector = build_detector(
            num_classes=80,
            backbone={
                "name": "vovnet",
                "blocks": blocks,
                "widths": widths,
                "channels": channels,
                "attention": False,
                "norm": "trained",
                "frozen_stages": 0,
            },
            fpn={"p6_from": "c5"},
            head={"tower_bias": False},
        )
    stages = _names(blocks)
    found = {}
    for key, value in detector.state_dict().items():
        if key == "head.scales":
            for level in range(5):
                found[f"head.scales.{level}.scale"] = torch.ones(1)
            continue
        name = stages.get(key.rsplit(".", 1)[0], key.rsplit(".", 1)[0])
        for ours, theirs in (
            (r"fpn\.lateral\.(\d)", lambda m: f"fpn.inner_convs.{int(m[1]) + 2}"),
            (r"fpn\.output\.(\d)", lambda m: f"fpn.out_convs.{int(m[1]) + 2}"),
            (r"fpn\.extra\.(\d)", lambda m: f"fpn.top_blocks.p{int(m[1]) + 6}"),
            (r"head\.box_tower", lambda m: "head.bbox_tower"),
            (r"head\.cls_logits", lambda m: "head.cls_pred"),
            (r"head\.box_ltrb", lambda m: "head.bbox_pred"),
            (r"head\.quality_logits", lambda m: "head.center_pred"),
        ):
            name = re.sub(ours, theirs, name)
        leaf = key.rsplit(".", 1)[1]
        found[f"{name}.{leaf}"] = torch.full(value.shape, 0.01, dtype=value.dtype)
    return found


def _names(blocks: tuple[int, ...]) -> dict[str, str]:
    """Our modules of the backbone -> theirs, by way of the names of vovnet-detectron2."""
    theirs = [f"stem.stem_{number}/{part}" for number in (1, 2, 3) for part in ("conv", "norm")]
    for stage, count in enumerate(blocks, 2):
        for block in range(1, count + 1):
            one = f"stage{stage}.OSA{stage}_{block}"
            inner = [f"{one}.layers.{i}.OSA{stage}_{block}_{i}" for i in range(5)]
            inner.append(f"{one}.concat.OSA{stage}_{block}_concat")
            theirs += [f"{name}/{part}" for name in inner for part in ("conv", "norm")]
    return {
        f"backbone.stages.{own.removesuffix('.weight')}": f"backbone.{name}"
        for name in theirs
        if (own := own_key(f"{name}.weight")) is not None
    }


@pytest.mark.parametrize(
    ("blocks", "half"), [((1, 1, 4, 3), False), ((1, 1, 2, 2), False), ((1, 1, 1, 1), True)]
)
def test_its_vovnets(blocks: tuple[int, ...], half: bool) -> None:
    weights = weights_of(blocks, half)
    assert [layout.NAME for layout in LAYOUTS if layout.recognises(weights)] == ["rosinality"]
    found = translated({"model": weights, "optim": {}}, "a.pth")
    assert found is not None
    spec = found[1].spec
    backbone = spec["backbone"]
    assert (backbone["name"], tuple(backbone["blocks"])) == ("vovnet", blocks)
    assert backbone["norm"] == "frozen" and not backbone["attention"]
    assert spec["fpn"]["p6_from"] == "c5" and len(spec["class_names"]) == 80
    assert found[1].sides == (800, 1333)
    with pytest.raises(UserError, match="layout, whose recipes are trained"):
        translated({"model": weights}, "a.pth", "plain")


def test_its_conventions_live_on_in_a_file_of_ours(tmp_path: Path) -> None:
    torch.save({"model": weights_of((1, 1, 1, 1), half=True)}, tmp_path / "a.pt")
    Checkpoint.read(tmp_path / "a.pt").write(tmp_path / "b.safetensors")
    detector = load_detector(tmp_path / "b.safetensors")
    assert detector.decoder == NMSDecoder(clip_to="last_pixel", keep_ties=True)
    assert detector.loss == FCOSLoss(box_units="pixels", divide_by="positives_and_images")
    assert detector.head.distances == "exp"  # type: ignore[union-attr]
    assert detector.head.quality_on == "classification"  # type: ignore[union-attr]
    mean = [255 * value for value in (0.40789654, 0.44719302, 0.47026115)]
    std = [255 * value for value in (0.28863828, 0.27408164, 0.27809835)]
    assert detector.mean.flatten().tolist() == pytest.approx(mean)
    assert detector.std.flatten().tolist() == pytest.approx(std)
    # A side that is a multiple of 32 gets 32 more.
    for side, padded in ((63, 64), (64, 96), (65, 96)):
        image = torch.zeros(3, side, 40, dtype=torch.uint8)
        assert detector.collate([image]).padded_size == (padded, 64)
    (found,) = detector.detect([torch.zeros(3, 64, 64, dtype=torch.uint8)])
    assert found.boxes_xyxy.shape[1] == 4
