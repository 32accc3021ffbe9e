"""torchvision's detectors as whole nets, and ours with the same weights."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import torch
from lightning.pytorch.accelerators import CPUAccelerator, CUDAAccelerator
from torch import Tensor, nn
from torchvision.models import mobilenet_v2, resnet50
from torchvision.models.detection import FCOS as TorchvisionFCOS
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.ops import FrozenBatchNorm2d
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from fcos_lightning import Target, build_fcos, load_detector
from fcos_lightning.checkpoints.layouts.torchvision_fcos import _RULES
from fcos_lightning.checkpoints.translation.naming import renamed
from fcos_lightning.detector import FCOS
from fcos_lightning.structures import Images, Targets
from fcos_lightning.training.acceleration import accelerate

#: torchvision's loss and assignment, in our words.
RULES = {
    "assigner": {"range_ends": "exclusive"},
    "loss": {"box_loss": "giou", "box_epsilon": "plain", "box_weight": "none"},
    "point_offset": 0.0,
    "point_spacing": "image",
}


def with_pyramid(
    body: nn.Module, layers: dict[str, str], widths: list[int], channels: int, classes: int
) -> TorchvisionFCOS:
    """Return torchvision's detector on a backbone; it resizes nothing."""
    backbone = BackboneWithFPN(
        body, layers, widths, channels, extra_blocks=LastLevelP6P7(channels, channels)
    )
    model = TorchvisionFCOS(backbone, classes)
    model.transform.resize = lambda image, target=None: (image, target)
    # Fresh class logits are all alike; the towers' weights make something of them.
    for module in model.head.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, a=1)
    return model


def resnet_pair(classes: int = 80) -> tuple[FCOS, TorchvisionFCOS]:
    """Return R-50 with frozen BatchNorm, stem and first stage frozen: ours and torchvision's."""
    torch.manual_seed(0)
    body = resnet50(norm_layer=FrozenBatchNorm2d)
    for module in body.modules():
        if isinstance(module, FrozenBatchNorm2d):
            module.weight.uniform_(0.3, 0.7)
    for name, parameter in body.named_parameters():
        parameter.requires_grad_(name.startswith(("layer2", "layer3", "layer4")))
    layers = {"layer2": "0", "layer3": "1", "layer4": "2"}
    peer = with_pyramid(body, layers, [512, 1024, 2048], 256, classes)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "peer.pth"
        torch.save(peer.state_dict(), file)
        ours = load_detector(file)
    return ours, peer


def mobilenet_pair(classes: int = 80, channels: int = 128) -> tuple[FCOS, TorchvisionFCOS]:
    """Return MobileNetV2 with BatchNorm that learns: ours and torchvision's."""
    torch.manual_seed(0)
    body = mobilenet_v2().features
    layers = {"6": "0", "13": "1", "17": "2"}
    peer = with_pyramid(body, layers, [32, 96, 320], channels, classes)
    ours = build_fcos(
        num_classes=classes,
        backbone={"name": "mobilenet_v2", "norm": "trained", "frozen_stages": 0},
        fpn={"channels": channels},
        head={"level_scales": False},
        **RULES,
    )
    weights = {k: v for k, v in peer.state_dict().items() if not k.startswith("backbone.body")}
    ours.load_state_dict(renamed(weights, _RULES), strict=False)
    mine, theirs = ours.backbone.state_dict(), list(peer.backbone.body.state_dict().values())
    ours.backbone.load_state_dict(dict(zip(mine, theirs, strict=True)))
    return ours, peer


class Steps:
    """The same training step on both sides: losses, gradients, SGD.

    Args:
        pair: ours and torchvision's.
        images: ``B``.
        size_hw: of every image in pixels; a multiple of 32.
        boxes: of each image.
        device: where it runs; on a GPU under autocast to bfloat16.
    """

    def __init__(
        self,
        pair: tuple[FCOS, TorchvisionFCOS],
        images: int,
        size_hw: tuple[int, int],
        boxes: int = 7,
        device: str = "cpu",
    ) -> None:
        self.device = device
        self.ours, self.peer = (model.to(device).train() for model in pair)
        generator = torch.Generator().manual_seed(0)
        pixels = torch.randint(0, 256, (images, 3, *size_hw), generator=generator)
        self.pixels = pixels.to(torch.uint8).to(device)
        limits = torch.tensor([size_hw[1], size_hw[0]] * 2).float()
        corners = torch.rand(images, boxes, 2, 2, generator=generator).sort(dim=2).values
        xyxy = corners.flatten(2) * (limits - 20) + torch.tensor([0.0, 0.0, 20.0, 20.0])
        labels = torch.randint(0, self.ours.head.num_classes, (images, boxes), generator=generator)
        self.targets = [
            Target(b.to(device), n.to(device)) for b, n in zip(xyxy, labels, strict=True)
        ]
        sizes = torch.tensor([size_hw] * images, device=device)
        self.batch = Images(self.pixels, sizes), Targets.stack(self.targets).to(device)
        self.optimizers = {
            model: torch.optim.SGD(
                [p for p in model.parameters() if p.requires_grad], lr=1e-9, momentum=0.9
            )
            for model in (self.ours, self.peer)
        }

    def accelerate(self, **options: object) -> None:
        """Prepare ours as ``fcos-train`` does."""
        kind = CPUAccelerator if self.device == "cpu" else CUDAAccelerator
        precision = "32-true" if self.device == "cpu" else "bf16-mixed"
        trainer = SimpleNamespace(accelerator=kind.__new__(kind), precision=precision)
        accelerate(self.ours, trainer, **options)  # type: ignore[arg-type]

    def our_step(self) -> Tensor:
        """Take a step with ours."""
        return self._step(self.ours, self._our_loss)

    def peer_step(self) -> Tensor:
        """Take a step with torchvision's."""
        return self._step(self.peer, self._peer_loss)

    def _our_loss(self) -> Tensor:
        images, targets = self.batch
        points = self.ours.grid(images)
        prediction = self.ours(images)
        return self.ours.loss(prediction, self.ours.assign(points, targets), points).total

    def _peer_loss(self) -> Tensor:
        targets = [{"boxes": t.boxes_xyxy, "labels": t.labels} for t in self.targets]
        losses = self.peer([image.float() / 255 for image in self.pixels], targets)
        return torch.stack(list(losses.values())).sum()

    def _step(self, model: nn.Module, loss: Callable[[], Tensor]) -> Tensor:
        self.optimizers[model].zero_grad(set_to_none=True)
        with torch.autocast(self.device, torch.bfloat16, enabled=self.device != "cpu"):
            total = loss()
        total.backward()
        self.optimizers[model].step()
        if self.device != "cpu":
            torch.cuda.synchronize()
        return total.detach()

    def check(self, tolerance: float = 1e-3) -> float:
        """Return the relative difference of both losses.

        Raises:
            RuntimeError: if it is beyond what rounding explains.
        """
        ours, peer = float(self.our_step()), float(self.peer_step())
        difference = abs(ours - peer) / peer
        if not difference < tolerance:
            raise RuntimeError(f"ours loses {ours}, torchvision {peer}")
        return difference
