"""HRNet's pyramid: its formula, and that every cell has its point."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fcos_lightning import Target, build_fcos
from fcos_lightning.checkpoints import describe, load_detector
from fcos_lightning.detector.hrfpn import HRFPN
from fcos_lightning.errors import UserError
from fcos_lightning.structures import Images


class Branches(nn.Module):
    """Maps of stride 4 to 32, as HRNet has them."""

    channels = (3, 4, 5, 6)
    strides = (4, 8, 16, 32)

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(3, width, 1) for width in self.channels)

    def forward(self, images: Tensor) -> list[Tensor]:
        return [
            conv(F.avg_pool2d(images, stride))
            for conv, stride in zip(self.convs, self.strides, strict=True)
        ]


@pytest.mark.parametrize("first", [2, 3])
def test_the_formula_of_every_level(first: int) -> None:
    torch.manual_seed(0)
    pyramid = HRFPN(Branches.channels, Branches.strides, 8, tuple(range(first, 8)))
    features = Branches()(torch.randn(2, 3, 160, 128))
    wide = [
        F.interpolate(one, scale_factor=2.0**index, mode="bilinear") if index else one
        for index, one in enumerate(features)
    ]
    merged = pyramid.merge(torch.cat(wide, dim=1))
    step = 2 ** (first - 2)
    for index, got in enumerate(pyramid(features)):
        square = 2**index
        kept = merged[..., : 40 // square * square, : 32 // square * square]
        means = kept.unflatten(3, (-1, square)).unflatten(2, (-1, square)).mean((3, 5))
        conv = pyramid.output[index]
        wanted = F.conv2d(means, conv.weight, conv.bias, step, 1)  # type: ignore[arg-type]
        torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("levels", [(3, 4, 5, 6, 7), (2, 3, 4), (3, 4, 5, 6, 7, 8)])
@pytest.mark.parametrize("size", [(32, 32), (64, 96), (160, 352), (800, 1344), (96, 608)])
def test_every_cell_has_its_point(levels: tuple[int, ...], size: tuple[int, int]) -> None:
    detector = build_fcos(
        num_classes=2,
        backbone=Branches(),
        fpn={"merge": "concatenate", "channels": 4, "levels": levels},
        head={"num_convs": 0},
        assigner={"center_radius": 1.5},
    )
    images = Images.pad([torch.zeros(3, *size, dtype=torch.uint8)], detector.size_multiple)
    points = detector.grid(images)
    maps = detector.fpn(detector.backbone(detector.normalise(images)))
    assert [tuple(one.shape[-2:]) for one in maps] == list(points.feature_sizes)
    prediction = detector(images)
    target = Target(torch.tensor([[4.0, 4.0, 28.0, 28.0]]), torch.tensor([1]))
    losses = detector.loss(prediction, detector.assign(points, [target]), points)
    losses.total.backward()
    assert all(p.grad is not None for p in detector.fpn.parameters())
    # Points lie as those of any FPN, but that the last of a row may be missing.
    assert points.xy[0].tolist() == [detector.strides[0] / 2] * 2


def test_a_checkpoint_needs_no_word_on_the_grid(tmp_path: Path) -> None:
    detector = build_fcos(
        num_classes=2,
        backbone={"name": "tiny", "frozen_stages": 0},
        fpn={"merge": "concatenate", "channels": 16, "levels": [4, 5, 6, 7]},
        head={"num_convs": 1},
    )
    assert "pooled_from" not in detector.spec["grid"]
    state = {f"detector.{key}": value for key, value in detector.state_dict().items()}
    torch.save({"state_dict": state, "fcos": describe(detector)}, tmp_path / "a.ckpt")
    again = load_detector(tmp_path / "a.ckpt")
    assert again.grid == detector.grid and again.grid.pooled_from == 8
    (found,) = again.detect([torch.zeros(3, 96, 160, dtype=torch.uint8)])
    assert found.boxes_xyxy.shape[1] == 4


@pytest.mark.parametrize("levels", [(), (3, 5), (4, 5), (1, 2)])
def test_levels_that_it_does_not_have(levels: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match=r"model\.fpn\.levels=.*stride 4 or 8"):
        HRFPN(Branches.channels, Branches.strides, 8, levels)
