"""The fast copy of a detector against the detector itself."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.ops import FrozenBatchNorm2d

from fcos_lightning.detector import FCOS, build_fcos, for_inference
from fcos_lightning.errors import UserError
from fcos_lightning.inference.folded import fold_batchnorm

NETS: dict[str, dict[str, Any]] = {
    "frozen": {"backbone": {"name": "resnet18"}},
    "trained": {"backbone": {"name": "tiny", "norm": "trained"}},
    "grouped": {"backbone": {"name": "mobilenet_v2"}, "input": {"channel_order": "bgr"}},
    "deformable": {
        "backbone": {"name": "resnet50", "deformable_stages": [5]},
        "head": {"num_convs": 1, "deformable": True},
    },
    "of timm": {"backbone": {"name": "timm/dla34"}},
    "of timm, with activations": {"backbone": {"name": "timm/ese_vovnet19b_slim_dw"}},
}


def lively(**options: Any) -> FCOS:
    """A detector whose norms do something, and which finds something in noise."""
    torch.manual_seed(0)
    chosen = {"fpn": {"channels": 32}, "head": {"num_convs": 1}, **options}
    detector = build_fcos(num_classes=3, **chosen)
    with torch.no_grad():
        for module in detector.modules():
            if hasattr(module, "running_mean"):
                enliven(module)
        detector.head.cls_logits.weight.normal_(std=0.1)
        detector.head.box_ltrb.bias.fill_(2.0)
    return detector.eval()


def enliven(norm: Any) -> None:
    norm.running_mean.normal_(std=0.2)
    norm.running_var.uniform_(0.5, 2)
    with torch.no_grad():
        norm.weight.uniform_(0.5, 1)
        norm.bias.normal_(std=0.2)


def norms_of(module: nn.Module) -> int:
    return sum(hasattr(part, "running_mean") for part in module.modules())


@pytest.mark.parametrize("net", NETS)
def test_finds_the_same(net: str) -> None:
    detector = lively(**NETS[net])
    before = {key: value.clone() for key, value in detector.state_dict().items()}
    fast = for_inference(detector)
    assert norms_of(fast.backbone) == 0 < norms_of(detector.backbone)
    generator = torch.Generator().manual_seed(1)
    images = [
        torch.randint(0, 256, (3, *size), dtype=torch.uint8, generator=generator)
        for size in ((100, 140), (64, 90))
    ]
    for name in ("cls_logits", "ltrb_px", "quality_logits"):
        expected = getattr(detector.predict(images), name)
        torch.testing.assert_close(
            getattr(fast.predict(images), name), expected, atol=1e-4, rtol=1e-4
        )
    for got, wanted in zip(fast.detect(images), detector.detect(images), strict=True):
        assert len(wanted) > 0
        assert torch.equal(got.labels, wanted.labels)
        torch.testing.assert_close(got.boxes_xyxy, wanted.boxes_xyxy, atol=1e-2, rtol=1e-4)
        torch.testing.assert_close(got.scores, wanted.scores, atol=1e-5, rtol=1e-4)
    after = detector.state_dict()
    assert before.keys() == after.keys() and all(
        torch.equal(after[key], before[key]) for key in before
    )


def test_norms_of_levels_that_share_a_convolution_stay() -> None:
    detector = lively(backbone={"name": "tiny"}, head={"num_convs": 2, "norm": "batch"})
    assert norms_of(for_inference(detector).head) == norms_of(detector.head) == 2 * 2 * 5


class ReadTwice(nn.Module):
    """The convolution's output goes around the norm as well."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return self.norm(y) + y


class RunTwice(ReadTwice):
    """One convolution before two norms."""

    def __init__(self) -> None:
        super().__init__()
        self.other = nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x)) + self.other(self.conv(x + 1))


class DecidesByValue(ReadTwice):
    """``torch.fx`` cannot follow."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return self.norm(y) if x.sum() > 0 else y


class OfItsOwn(nn.BatchNorm2d):
    """Computes something else."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input) ** 2


def sequence(norm: nn.Module, *before: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), *before, norm)


def hooked() -> nn.Module:
    net = sequence(nn.BatchNorm2d(4))
    net[0].register_forward_hook(lambda module, given, output: output + 1)
    return net


@pytest.mark.parametrize(
    "net",
    [
        ReadTwice(),
        RunTwice(),
        DecidesByValue(),
        sequence(OfItsOwn(4)),
        sequence(nn.BatchNorm2d(4), nn.ReLU()),
        sequence(nn.BatchNorm2d(4, track_running_stats=False)),
        hooked(),
    ],
    ids=lambda net: type(net).__name__,
)
def test_what_is_no_plain_pair_stays(net: nn.Module) -> None:
    torch.manual_seed(0)
    for module in net.modules():
        if getattr(module, "running_mean", None) is not None:
            enliven(module)
    net.eval()
    x = torch.randn(2, 3, 9, 9)
    expected = net(x)
    assert fold_batchnorm(net) == 0
    assert torch.equal(net(x), expected)


@pytest.mark.parametrize("norm", [nn.BatchNorm2d(4), FrozenBatchNorm2d(4), nn.SyncBatchNorm(4)])
@pytest.mark.parametrize("bias", [False, True])
def test_a_plain_pair_is_one_convolution(norm: nn.Module, bias: bool) -> None:
    torch.manual_seed(0)
    enliven(norm)
    net = nn.Sequential(nn.Conv2d(3, 4, 3, bias=bias), norm).eval()
    x = torch.randn(2, 3, 9, 9)
    scale = (norm.weight / (norm.running_var + norm.eps).sqrt())[:, None, None]
    plain = (net[0](x) - norm.running_mean[:, None, None]) * scale + norm.bias[:, None, None]
    assert fold_batchnorm(net) == 1
    assert isinstance(net[1], nn.Identity)
    torch.testing.assert_close(net(x), plain)


def test_memory_layout_is_chosen_by_device_or_by_word() -> None:
    detector = lively(backbone={"name": "tiny"})

    def layout(fast: FCOS) -> bool:
        weight = fast.head.cls_logits.weight
        return weight.is_contiguous(memory_format=torch.channels_last)

    turned = lively(backbone={"name": "tiny"}).to(memory_format=torch.channels_last)
    assert layout(for_inference(detector)) and not layout(detector)
    assert not layout(for_inference(turned, channels_last=False))
    assert layout(for_inference(detector, channels_last=True, device="cuda"))
    # Where nothing was measured, as it was trained.
    assert not layout(for_inference(detector, device="cuda"))
    assert layout(for_inference(turned, device="cuda"))
    with pytest.raises(UserError, match="channels_last=yes: give auto, true or false"):
        for_inference(detector, channels_last="yes")  # type: ignore[arg-type]
