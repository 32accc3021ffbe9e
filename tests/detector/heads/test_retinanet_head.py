"""RetinaNet's head: the order of its anchors, its options, and what it says at first."""

import math

import pytest
import torch
from torch import Tensor, nn

from fcos_lightning.detector.grid import Grid
from fcos_lightning.detector.heads.retinanet import (
    RetinaNetHead,
    RetinaNetHeadOptions,
    ltrb_of,
)
from fcos_lightning.errors import UserError

GRID = Grid((8, 16), anchor_scales=(4.0, 5.0), anchor_ratios=(0.5, 1.0, 2.0))


def maps(channels: int = 8) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(2, channels, *size, generator=generator) for size in ((3, 5), (2, 3))]


def made(in_channels: int = 8, classes: int = 3, **options: object) -> RetinaNetHead:
    torch.manual_seed(0)
    return RetinaNetHeadOptions(**options).build(in_channels, classes, GRID)  # type: ignore[arg-type]


def lively(head: RetinaNetHead) -> RetinaNetHead:
    """Weights that make the outputs differ, so that a mixed-up order shows."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return head.eval()


@pytest.mark.parametrize("norm", ["none", "group", "batch"])
def test_outputs_anchor_by_anchor(norm: str) -> None:
    head = lively(made(num_convs=2, norm=norm))
    prediction, points = head(maps()), GRID((24, 40))
    assert prediction.cls_logits.shape == (2, 6 * (15 + 6), 3)
    assert prediction.offsets.shape == prediction.ltrb_px.shape == (2, 126, 4)
    assert prediction.quality_logits is None and points.size_wh is not None
    first = 0
    for level, feature in enumerate(maps()):
        cls = head.cls_logits(head.cls_tower(feature, level))
        offsets = head.box_offsets(head.box_tower(feature, level))
        height, width = feature.shape[-2:]
        for row in range(height):
            for column in range(width):
                for anchor in range(6):
                    point = first + (row * width + column) * 6 + anchor
                    of_class = cls[:, 3 * anchor : 3 * anchor + 3, row, column]
                    of_box = offsets[:, 4 * anchor : 4 * anchor + 4, row, column]
                    torch.testing.assert_close(prediction.cls_logits[:, point], of_class)
                    torch.testing.assert_close(prediction.offsets[:, point], of_box)
                    boxes = ltrb_of(of_box[:, None], points.size_wh[point][None])[:, 0]
                    torch.testing.assert_close(prediction.ltrb_px[:, point], boxes)
        first += height * width * 6


def test_offsets_move_and_stretch_an_anchor() -> None:
    anchors = torch.tensor([[40.0, 20.0]] * 3)
    offsets = torch.tensor([[[0.0, 0, 0, 0], [0.5, -0.25, 0, 0], [0, 0, math.log(2), 9.0]]])
    largest = 20 * 1000 / 16 / 2  # of half a side, however large the offset
    expected = [[20.0, 10, 20, 10], [0, 15, 40, 5], [40, largest, 40, largest]]
    torch.testing.assert_close(ltrb_of(offsets, anchors), torch.tensor([expected]))


def test_the_papers_towers_are_the_default() -> None:
    head = made()
    for tower in (head.cls_tower, head.box_tower):
        assert [type(module) for module in tower] == [nn.Conv2d, nn.ReLU] * 4
        assert all(module.bias is not None for module in tower if isinstance(module, nn.Conv2d))
    assert head.options == RetinaNetHeadOptions(4, None, "none", True, 0.01, False)


@pytest.mark.parametrize("num_convs", [0, 2])
def test_towers(num_convs: int) -> None:
    head = made(num_convs=num_convs, channels=24, norm="group", tower_bias=False)
    for tower in (head.cls_tower, head.box_tower):
        convolutions = [module for module in tower if isinstance(module, nn.Conv2d)]
        assert len(convolutions) == num_convs
        assert all(module.bias is None and module.out_channels == 24 for module in convolutions)
    assert head.cls_logits.in_channels == head.box_offsets.in_channels == (24 if num_convs else 8)


@pytest.mark.parametrize("prior", [0.01, 0.2])
def test_every_class_starts_with_its_prior(prior: float) -> None:
    head = made(prior=prior)
    assert head.cls_logits.bias is not None
    assert head.cls_logits.bias.sigmoid().tolist() == pytest.approx([prior] * 18)
    assert head(maps()).cls_logits.sigmoid().mean().item() == pytest.approx(prior, rel=0.1)
    for module in head.modules():
        if isinstance(module, nn.Conv2d):
            assert module.weight.std().item() == pytest.approx(0.01, rel=0.3)
            if module is not head.cls_logits:
                assert module.bias is not None and (module.bias == 0).all()


def test_a_fast_start_keeps_maps_alive() -> None:
    slow, fast = made(64), made(64, fast_start=True)
    feature = maps(64)[0]
    assert fast.box_tower(feature, 0).std() > 100 * slow.box_tower(feature, 0).std()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_convs": -1}, r"model\.head\.num_convs=-1: give 0 or more"),
        ({"norm": "layer"}, r"model\.head\.norm=layer: give one of none, group, batch"),
        ({"prior": 0.0}, r"model\.head\.prior=0\.0"),
        ({"prior": 1.0}, r"model\.head\.prior=1\.0"),
        ({"prior": math.nan}, r"model\.head\.prior=nan"),
    ],
)
def test_bad_options(options: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        RetinaNetHeadOptions(**options)  # type: ignore[arg-type]


def test_it_needs_anchors_and_classes() -> None:
    with pytest.raises(UserError, match="the head retinanet needs anchors"):
        RetinaNetHeadOptions().build(8, 3, Grid((8, 16)))
    with pytest.raises(UserError, match="at least one class, not 0"):
        made(classes=0)
