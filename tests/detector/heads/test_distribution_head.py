"""The head of distributions: what it says, and how it starts."""

import pytest
import torch

from fcos_lightning.detector.grid import Grid
from fcos_lightning.detector.heads.distribution import DistributionHead, DistributionHeadOptions
from fcos_lightning.errors import UserError


def head(**options: object) -> DistributionHead:
    torch.manual_seed(0)
    return DistributionHeadOptions(num_convs=1, **options).build(  # type: ignore[arg-type]
        16, 3, Grid((8, 16))
    )


def maps() -> list[torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    return [torch.randn(2, 16, *size, generator=random) for size in ((4, 6), (2, 3))]


def test_distances_are_the_expectation_in_strides() -> None:
    built = head(reach=5)
    with torch.no_grad():
        built.side_logits.weight.normal_(std=0.2)
    prediction = built(maps())
    assert prediction.cls_logits.shape == (2, 30, 3) and prediction.quality_logits is None
    assert prediction.side_logits.shape == (2, 30, 4, 6)
    probability = prediction.side_logits.softmax(dim=-1)
    strides = sum(step * probability[..., step] for step in range(6))
    pixels = strides * torch.tensor([8.0] * 24 + [16.0] * 6)[:, None]
    torch.testing.assert_close(prediction.ltrb_px, pixels)
    assert prediction.ltrb_px.std() > 1


def test_sides_lie_side_by_side() -> None:
    """The logits of the left side come first, then those of the top, right and bottom."""
    built = head(reach=3, tower_bias=False)
    with torch.no_grad():
        built.side_logits.weight.zero_()
        bias = torch.full((4, 4), -50.0)
        for side, step in enumerate((0, 1, 2, 3)):
            bias[side, step] = 50
        built.side_logits.bias.copy_(bias.flatten())
    first = built(maps()).ltrb_px[0, 0]
    assert first.tolist() == pytest.approx([0, 8, 16, 24])


def test_it_starts_with_the_prior_and_all_steps_alike() -> None:
    prediction = head(prior=0.02)([torch.zeros_like(one) for one in maps()])
    assert prediction.cls_logits.sigmoid().mean().item() == pytest.approx(0.02, rel=1e-4)
    assert prediction.ltrb_px[0, 0].tolist() == pytest.approx([64] * 4)  # half of 16 strides


def test_under_autocast_distances_are_not_rounded_once_more() -> None:
    built = head()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        prediction = built(maps())
    assert prediction.cls_logits.dtype == torch.bfloat16
    assert prediction.side_logits.dtype == prediction.ltrb_px.dtype == torch.float32


def test_activation_checkpointing_changes_nothing() -> None:
    built = head().train()
    plain = built(maps())
    built.recompute = True
    again = built(maps())
    for name in ("cls_logits", "ltrb_px", "side_logits"):
        assert torch.equal(getattr(plain, name), getattr(again, name))


def test_what_it_refuses() -> None:
    anchors = Grid((8, 16), anchor_scales=(2.0, 3.0), anchor_ratios=(1.0,))
    with pytest.raises(UserError, match="the head distribution predicts points, no anchors"):
        DistributionHeadOptions().build(16, 3, anchors)
    with pytest.raises(UserError, match="at least one class"):
        DistributionHeadOptions().build(16, 0, Grid((8, 16)))
    for options, said in (
        ({"reach": 0}, r"reach=0: give 1 or more"),
        ({"num_convs": -1}, r"num_convs=-1: give 0 or more"),
        ({"channels": 0}, r"channels=0: give 1 or more"),
        ({"prior": 1.0}, r"prior=1\.0: give a number between"),
        ({"norm": "layer"}, r"norm=layer: give one of none, group, batch"),
    ):
        with pytest.raises(UserError, match=rf"model\.head\.{said}"):
            DistributionHeadOptions(**options)  # type: ignore[arg-type]
