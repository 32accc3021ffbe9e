"""The pyramid: which levels, of what, in which shapes."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fcos_lightning.detector import FPN
from fcos_lightning.errors import UserError

CHANNELS, STRIDES = (6, 10, 14), (8, 16, 32)


def features(height: int = 64, width: int = 96) -> list[Tensor]:
    """What a backbone gives for an image of this size: halves rounded up."""
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(2, c, -(-height // s), -(-width // s), generator=generator)
        for c, s in zip(CHANNELS, STRIDES, strict=True)
    ]


@pytest.mark.parametrize("p6_from", ["p5", "c5", "lateral"])
@pytest.mark.parametrize("size", [(64, 96), (65, 97), (1, 1), (33, 250)])
@pytest.mark.parametrize(
    "levels", [(3, 4, 5, 6, 7), (3, 4, 5), (4,), (3,), (5, 6), (4, 5, 6, 7, 8), (5,)]
)
def test_levels_and_shapes(levels: tuple[int, ...], size: tuple[int, int], p6_from: str) -> None:
    fpn = FPN(CHANNELS, STRIDES, channels=8, levels=levels, p6_from=p6_from)  # type: ignore[arg-type]
    maps = fpn(features(*size))
    strides = [2**level for level in levels]
    assert list(fpn.strides) == strides
    assert [tuple(m.shape) for m in maps] == [
        (2, 8, -(-size[0] // s), -(-size[1] // s)) for s in strides
    ]
    torch.stack([m.sum() for m in maps]).sum().backward()
    # No convolution is made that nothing comes of: distributed training would wait for it.
    assert all(parameter.grad is not None for parameter in fpn.parameters())


@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("p6_from", ["p5", "c5", "lateral"])
def test_the_formula_of_every_level(p6_from: str, relu: bool) -> None:
    options: dict[str, Any] = {"p6_from": p6_from, "relu_before_p7": relu}
    fpn = FPN(CHANNELS, STRIDES, channels=8, **options)
    c3, c4, c5 = features(40, 72)
    lateral, output, extra = (
        [m for m in getattr(fpn, part) if isinstance(m, nn.Conv2d)]
        for part in ("lateral", "output", "extra")
    )
    inner5 = lateral[2](c5)
    inner4 = lateral[1](c4) + F.interpolate(inner5, size=c4.shape[-2:], mode="nearest")
    inner3 = lateral[0](c3) + F.interpolate(inner4, size=c3.shape[-2:], mode="nearest")
    p5 = output[2](inner5)
    p6 = extra[0]({"p5": p5, "c5": c5, "lateral": inner5}[p6_from])  # no ReLU here
    p7 = extra[1](p6.clamp(min=0) if relu else p6)  # but here
    assert (p6 < 0).any()
    expected = [output[0](inner3), output[1](inner4), p5, p6, p7]
    for got, wanted in zip(fpn([c3, c4, c5]), expected, strict=True):
        torch.testing.assert_close(got, wanted)


def test_p6_of_c5_takes_its_channels() -> None:
    assert FPN(CHANNELS, STRIDES, 8, p6_from="c5").extra[0].in_channels == 14
    assert FPN(CHANNELS, STRIDES, 8, p6_from="p5").extra[0].in_channels == 8


def test_backbone_maps_finer_and_coarser_than_asked_for_are_left_alone() -> None:
    fpn = FPN((4, *CHANNELS), (4, *STRIDES), 8, levels=(3, 4))
    assert fpn.in_indices == (1, 2)
    given = [torch.randn(1, 4, 16, 16), *(f[:1] for f in features(64, 64))]
    assert [tuple(m.shape[-2:]) for m in fpn(given)] == [(8, 8), (4, 4)]


def test_initial_weights() -> None:
    fpn = FPN(CHANNELS, STRIDES, 64)
    for module in fpn.modules():
        if isinstance(module, nn.Conv2d):
            assert module.bias is not None
            assert (module.bias == 0).all()
            # Uniform with the variance of 1 / fan_in (arXiv 1502.01852 with a = 1).
            fan_in = module.in_channels * module.kernel_size[0] * module.kernel_size[1]
            assert module.weight.abs().max() <= (3 / fan_in) ** 0.5
            assert module.weight.var().item() == pytest.approx(1 / fan_in, rel=0.2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"levels": ()}, "levels in a row"),
        ({"levels": (3, 5)}, "levels in a row"),
        ({"levels": (4, 3)}, "levels in a row"),
        ({"levels": (2, 3)}, "none is 4"),
        ({"levels": (6, 7)}, "none is 64"),
        ({"p6_from": "c6"}, r"model\.fpn\.p6_from=c6: give one of p5, c5"),
    ],
)
def test_bad_options(options: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        FPN(CHANNELS, STRIDES, 8, **options)  # type: ignore[arg-type]
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("strides", "message"),
    [((8, 32), "none is 16"), ((12, 24, 48), "none is 8"), ((8, 16, 48), "none is 32")],
)
def test_a_backbone_that_lacks_a_level(strides: tuple[int, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        FPN((6,) * len(strides), strides, 8)


def test_one_level_with_what_comes_down_to_it() -> None:
    fpn = FPN((4, *CHANNELS), (4, *STRIDES), 8, levels=(3, 4, 5, 6, 7), only=2)
    assert fpn.strides == (4,) and fpn.levels == (2,) and not len(fpn.extra)
    given = [torch.randn(2, 4, 16, 24), *features(64, 96)]
    (found,) = fpn(given)
    inner = fpn.lateral[3](given[3])
    for place in (2, 1, 0):
        lateral = fpn.lateral[place](given[place])
        inner = lateral + F.interpolate(inner, size=lateral.shape[-2:], mode="nearest")
    torch.testing.assert_close(found, fpn.output[0](inner))
    found.sum().backward()
    assert all(parameter.grad is not None for parameter in fpn.parameters())


def test_one_level_reads_no_coarser_maps_than_the_levels_say() -> None:
    fpn = FPN((4, *CHANNELS), (4, *STRIDES), 8, levels=(3, 4), only=2)
    assert fpn.in_indices == (0, 1, 2) and fpn.last_index == 2


def test_the_backbones_own_levels() -> None:
    fpn = FPN(CHANNELS, STRIDES, 8, top_down=False)
    given = features(64, 96)
    maps = fpn(given)
    assert fpn.strides == (8, 16, 32, 64, 128) and len(maps) == 5
    for level, own in enumerate(given):
        torch.testing.assert_close(maps[level], fpn.lateral[level](own))
    torch.testing.assert_close(maps[3], fpn.extra[0](maps[2]))
    torch.stack([one.sum() for one in maps]).sum().backward()
    assert all(parameter.grad is not None for parameter in fpn.parameters())


@pytest.mark.parametrize(
    "options",
    [{"only": 6, "levels": (3, 4, 5)}, {"only": 3, "top_down": False}],
)
def test_one_level_that_nothing_leads_to_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(UserError, match=r"model\.fpn\.only=\d: the coarser levels lead down to it"):
        FPN(CHANNELS, STRIDES, 8, **options)  # type: ignore[arg-type]


def test_one_level_that_the_backbone_lacks_is_named() -> None:
    with pytest.raises(UserError, match=r"model\.fpn\.only=2: .* none is 4"):
        FPN(CHANNELS, STRIDES, 8, only=2)
