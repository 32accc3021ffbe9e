"""The head: units, order of points, options, and what it says before it has learnt."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fcos_lightning.detector import Head
from fcos_lightning.errors import UserError

STRIDES = (8, 16)


def maps(channels: int = 8) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(2, channels, *size, generator=generator) for size in ((3, 5), (2, 3))]


def lively(head: Head) -> Head:
    """Weights that make the outputs differ, so that a mixed-up order shows."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return head


@pytest.mark.parametrize("distances", ["relu", "exp"])
@pytest.mark.parametrize("quality_on", ["box", "classification"])
@pytest.mark.parametrize("norm", ["group", "batch", "none"])
def test_outputs_point_by_point(norm: str, quality_on: str, distances: str) -> None:
    head = lively(
        Head(8, 3, STRIDES, num_convs=2, norm=norm, quality_on=quality_on, distances=distances)  # type: ignore[arg-type]
    ).eval()
    prediction = head(maps())
    assert prediction.cls_logits.shape == (2, 15 + 6, 3)
    assert prediction.ltrb_px.shape == (2, 21, 4)
    assert prediction.quality_logits.shape == (2, 21)
    first = 0
    for level, (feature, stride) in enumerate(zip(maps(), STRIDES, strict=True)):
        cls_feature, box_feature = head.cls_tower(feature, level), head.box_tower(feature, level)
        cls, raw = head.cls_logits(cls_feature), head.box_ltrb(box_feature) * head.scales[level]
        quality = head.quality_logits(box_feature if quality_on == "box" else cls_feature)
        ltrb = raw.clamp(min=0) * stride if distances == "relu" else raw.exp()
        height, width = feature.shape[-2:]
        for row in range(height):
            for column in range(width):
                point = first + row * width + column
                for got, wanted in (
                    (prediction.cls_logits[:, point], cls[:, :, row, column]),
                    (prediction.ltrb_px[:, point], ltrb[:, :, row, column]),
                    (prediction.quality_logits[:, point], quality[:, 0, row, column]),
                ):
                    torch.testing.assert_close(got, wanted)
        first += height * width
    assert (prediction.ltrb_px >= 0).all()
    assert (prediction.ltrb_px > 0).any()


def test_scales_belong_to_their_level() -> None:
    head = lively(Head(8, 1, STRIDES, num_convs=1))
    before = head(maps()).ltrb_px
    with torch.no_grad():
        head.scales[1] *= 2
    after = head(maps()).ltrb_px
    assert torch.equal(after[:, :15], before[:, :15])
    torch.testing.assert_close(after[:, 15:], 2 * before[:, 15:])


@pytest.mark.parametrize("learn", [True, False])
def test_scales_start_at_one_and_learn_if_told_to(learn: bool) -> None:
    head = Head(8, 1, STRIDES, level_scales=learn)
    assert head.scales.tolist() == [1, 1]
    assert head.scales.requires_grad is learn


@pytest.mark.parametrize("prior", [0.01, 0.2])
def test_every_class_starts_with_its_prior(prior: float) -> None:
    torch.manual_seed(0)
    head = Head(8, 5, STRIDES, prior=prior)
    assert head.cls_logits.bias is not None
    assert head.cls_logits.bias.sigmoid().tolist() == pytest.approx([prior] * 5)
    probability = head(maps()).cls_logits.sigmoid()
    assert probability.mean().item() == pytest.approx(prior, rel=0.1)
    for module in head.modules():
        if isinstance(module, nn.Conv2d):
            assert module.weight.std().item() == pytest.approx(0.01, rel=0.3)
            if module is not head.cls_logits:
                assert module.bias is not None
                assert (module.bias == 0).all()


@pytest.mark.parametrize(
    ("norm", "layer"), [("group", nn.GroupNorm), ("batch", nn.ModuleList), ("none", None)]
)
@pytest.mark.parametrize("num_convs", [0, 1, 4])
def test_towers(norm: str, layer: type[nn.Module] | None, num_convs: int) -> None:
    head = Head(16, 2, STRIDES, num_convs=num_convs, channels=24, norm=norm)  # type: ignore[arg-type]
    for tower in (head.cls_tower, head.box_tower):
        kinds = [type(module) for module in tower]
        assert kinds.count(nn.Conv2d) == num_convs
        assert kinds.count(nn.ReLU) == num_convs
        norms = [k for k in kinds if k not in (nn.Conv2d, nn.ReLU)]
        assert norms == ([layer] * num_convs if layer else [])
    assert head.box_ltrb.in_channels == (24 if num_convs else 16)
    assert head(maps(16)).cls_logits.shape == (2, 21, 2)


@pytest.mark.parametrize(
    ("width", "groups"),
    [(256, 32), (128, 32), (96, 32), (64, 32), (48, 16), (32, 16), (8, 4), (2, 1), (100, 4)],
)
def test_number_of_groups_divides_the_width(width: int, groups: int) -> None:
    head = Head(4, 1, STRIDES, num_convs=1, channels=width)
    assert [m.num_groups for m in head.cls_tower if isinstance(m, nn.GroupNorm)] == [groups]
    # One image, one cell: P7 of a small image.
    assert head([torch.ones(1, 4, 1, 1)] * 2).ltrb_px.shape == (1, 2, 4)


def test_weights_are_shared_over_levels() -> None:
    few, many = (
        sum(parameter.numel() for parameter in Head(8, 3, strides).parameters())
        for strides in ((8,), (8, 16, 32))
    )
    assert many - few == 2  # a scale for each level more


def test_a_relu_of_the_tower_does_not_reach_back_into_the_map() -> None:
    head = lively(Head(8, 1, STRIDES, num_convs=0))
    given = maps()
    head(given)
    for after, before in zip(given, maps(), strict=True):
        assert torch.equal(after, before)


def test_distances_are_float32_under_autocast() -> None:
    head = lively(Head(8, 1, STRIDES, num_convs=1))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        prediction = head(maps())
    assert prediction.ltrb_px.dtype == torch.float32
    exact = head(maps()).ltrb_px
    assert F.l1_loss(prediction.ltrb_px, exact) < 0.02 * exact.mean()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_classes": 0}, "at least one class, not 0"),
        ({"num_classes": -1}, "at least one class"),
        ({"norm": "layer"}, r"model\.head\.norm=layer: give one of none, group, batch"),
        ({"quality_on": "cls"}, r"model\.head\.quality_on=cls"),
        ({"distances": "softplus"}, r"model\.head\.distances=softplus: give one of relu, exp"),
        ({"num_convs": -1}, r"model\.head\.num_convs=-1: give 0 or more"),
        ({"shared_convs": -2}, r"model\.head\.shared_convs=-2: give 0 or more"),
        ({"deformable": True, "num_convs": 0}, r"model\.head\.deformable=true.*leaves none"),
        ({"prior": 0.0}, r"model\.head\.prior=0\.0"),
        ({"prior": 1.0}, r"model\.head\.prior=1\.0"),
        ({"prior": math.nan}, r"model\.head\.prior=nan"),
    ],
)
def test_bad_options(options: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Head(8, **{"num_classes": 1, "strides": STRIDES, **options})  # type: ignore[arg-type]


def test_each_level_has_a_batchnorm_of_its_own() -> None:
    head = Head(8, 1, STRIDES, num_convs=2, norm="batch").train()
    for tower in (head.cls_tower, head.box_tower):
        for norm in (tower[1], tower[4]):
            assert [type(m) for m in norm] == [nn.BatchNorm2d] * len(STRIDES)  # type: ignore[union-attr]
    first, second = head.cls_tower[1]  # type: ignore[misc]
    # Levels of other statistics: what one sees must not move the other's.
    head([torch.full((2, 8, 3, 5), 100.0), torch.randn(2, 8, 2, 3)])
    assert first.running_mean.abs().max() > 10 * second.running_mean.abs().max()
    assert first.num_batches_tracked == second.num_batches_tracked == 1
    with torch.no_grad():
        first.running_mean.fill_(5.0)
    head.eval()
    before = head(maps())
    with torch.no_grad():
        second.running_mean.fill_(-5.0)
    after = head(maps())
    assert torch.equal(before.cls_logits[:, :15], after.cls_logits[:, :15])
    assert not torch.equal(before.cls_logits[:, 15:], after.cls_logits[:, 15:])


def test_shared_convolutions_stand_before_both_towers() -> None:
    head = lively(Head(8, 2, STRIDES, num_convs=0, shared_convs=2, channels=16, fast_start=True))
    assert [type(m).__name__ for m in head.shared_tower] == ["Conv2d", "GroupNorm", "ReLU"] * 2
    assert len(head.cls_tower) == len(head.box_tower) == 0
    feature = maps()[0]
    shared = head.shared_tower(feature, 0)
    wanted = head.cls_logits(shared).flatten(2).transpose(1, 2)
    torch.testing.assert_close(head(maps()).cls_logits[:, :15], wanted)
    wanted = head.quality_logits(shared).flatten(1)
    torch.testing.assert_close(head(maps()).quality_logits[:, :15], wanted)
    both = Head(8, 2, STRIDES, num_convs=1, shared_convs=1, channels=16)
    assert both(maps()).ltrb_px.shape == (2, 21, 4)
    assert [m.in_channels for m in (both.shared_tower[0], both.cls_tower[0])] == [8, 16]


@pytest.mark.parametrize("distances", ["relu", "exp"])
def test_a_fast_start_keeps_maps_alive_and_distances_at_one(distances: str) -> None:
    torch.manual_seed(0)
    head = Head(8, 2, STRIDES, channels=64, norm="none", distances=distances, fast_start=True)  # type: ignore[arg-type]
    slow = Head(8, 2, STRIDES, channels=64, norm="none", distances=distances)  # type: ignore[arg-type]
    # He's initialisation keeps the size of the maps; the official one lets them fade.
    assert head.cls_tower(maps()[0], 0).std() > 100 * slow.cls_tower(maps()[0], 0).std()
    # A stride, or a pixel, from which a ReLU can learn in both directions.
    assert head.box_ltrb.bias is not None and slow.box_ltrb.bias is not None
    assert head.box_ltrb.bias.tolist() == [1.0 if distances == "relu" else 0.0] * 4
    assert slow.box_ltrb.bias.tolist() == [0.0] * 4
    one = (8 if distances == "relu" else 1) * torch.ones(())
    torch.testing.assert_close(head(maps()).ltrb_px[:, :15].mean(), one, rtol=0.3, atol=0)


def test_without_shared_convolutions_there_are_no_keys_of_them() -> None:
    assert not [key for key in Head(8, 1, STRIDES).state_dict() if "shared" in key]


def test_the_last_convolution_of_each_tower_may_be_deformable() -> None:
    torch.manual_seed(0)
    head = Head(8, 2, STRIDES, num_convs=3, shared_convs=1, deformable=True)
    for tower in (head.cls_tower, head.box_tower):
        convs = [m for m in tower if isinstance(m, nn.Conv2d)]
        assert [type(m).__name__ for m in convs] == ["Conv2d", "Conv2d", "DeformableConv2d"]
        offset = convs[2].offset
        assert (offset.weight == 0).all() and (offset.bias == 0).all()  # type: ignore[union-attr]
        assert convs[2].weight.std().item() == pytest.approx(0.01, rel=0.3)
    assert not any(type(m).__name__ == "DeformableConv2d" for m in head.shared_tower)
    lively(head)(maps()).ltrb_px.sum().backward()
    assert head.box_tower[6].offset.weight.grad.abs().sum() > 0  # type: ignore[union-attr]


def test_towers_without_bias() -> None:
    with_bias, without = Head(8, 2, STRIDES), Head(8, 2, STRIDES, tower_bias=False)
    fewer = set(with_bias.state_dict()) - set(without.state_dict())
    assert fewer == {f"{t}_tower.{i}.bias" for t in ("cls", "box") for i in (0, 3, 6, 9)}
    assert without(maps()).cls_logits.shape == (2, 21, 2)


def test_towers_of_uneven_depth() -> None:
    torch.manual_seed(0)
    maps = [torch.randn(1, 6, 4, 5), torch.randn(1, 6, 2, 3)]
    for cls, box in ((2, 1), (1, 3), (2, 0), (0, 2)):
        for quality_on in ("box", "classification"):
            head = Head(
                6, 3, (8, 16), num_convs=cls, box_convs=box, channels=8, quality_on=quality_on
            )
            counts = [
                sum(isinstance(one, torch.nn.Conv2d) for one in tower)
                for tower in (head.cls_tower, head.box_tower)
            ]
            assert counts == [cls, box]
            assert head(maps).ltrb_px.shape == (1, 26, 4)
            before = (cls, box)[quality_on == "box"]
            assert head.quality_logits.in_channels == (8 if before else 6)
    even = Head(6, 3, (8, 16), num_convs=2, channels=8)
    same = Head(6, 3, (8, 16), num_convs=2, box_convs=2, channels=8)
    assert list(even.state_dict()) == list(same.state_dict())
    with pytest.raises(UserError, match=r"model\.head\.box_convs=-1: give 0 or more"):
        Head(6, 3, (8, 16), box_convs=-1)
    with pytest.raises(UserError, match=r"model\.head\.box_convs=0 leaves none"):
        Head(6, 3, (8, 16), box_convs=0, deformable=True)
