"""torchvision's RetinaNets by their files: what theirs predict and find, ours do."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.detection import retinanet_resnet50_fpn, retinanet_resnet50_fpn_v2
from torchvision.ops import FrozenBatchNorm2d

from fcos_lightning import load_detector
from fcos_lightning.checkpoints.published import PUBLISHED
from fcos_lightning.detector.heads.retinanet import AnchorPrediction
from fcos_lightning.errors import UserError
from fcos_lightning.structures import Target

VERSIONS = [retinanet_resnet50_fpn, retinanet_resnet50_fpn_v2]
IMAGES = [(3, 128, 160), (3, 120, 150)]


def lively(model: nn.Module) -> nn.Module:
    """Weights whose scores differ and pass the threshold; no resizing."""
    generator = torch.Generator().manual_seed(3)
    for module in model.head.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, a=1, generator=generator)
    model.transform.resize = lambda image, target=None: (image, target)
    model.eval()
    heads = (model.head.classification_head, "cls_logits", 1.2), (
        model.head.regression_head, "bbox_reg", 0.2
    )  # fmt: skip
    with torch.no_grad():
        batch, _ = model.transform([image.float() / 255 for image in pictures()])
        features = list(model.backbone(batch.tensors).values())
        for head, last, spread in heads:
            convolution = getattr(head, last)
            convolution.bias.zero_()
            convolution.weight *= spread / head(features).std()
        model.head.classification_head.cls_logits.bias.fill_(-6.0)
    return model


def pictures() -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randint(0, 256, s, dtype=torch.uint8, generator=generator) for s in IMAGES]


@pytest.fixture(scope="module", params=VERSIONS, ids=["first", "second"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    torch.manual_seed(0)
    peer = lively(request.param(weights=None, weights_backbone=None, num_classes=5))
    file = tmp_path_factory.mktemp("retinanet") / "theirs.pth"
    torch.save(peer.state_dict(), file)
    return load_detector(file), peer


def test_logits_offsets_and_detections_are_torchvisions(pair: Any) -> None:
    ours, peer = pair
    given = [image.float() / 255 for image in pictures()]
    with torch.no_grad():
        batch, _ = peer.transform(given)
        outputs = peer.head(list(peer.backbone(batch.tensors).values()))
        theirs = peer(given)
    prediction = ours.predict(pictures())
    assert isinstance(prediction, AnchorPrediction)
    for mine, their in (
        (prediction.cls_logits, outputs["cls_logits"]),
        (prediction.offsets, outputs["bbox_regression"]),
    ):
        assert (mine - their).norm() <= 1e-4 * their.norm()
    found = 0
    for mine, their in zip(ours.detect(pictures()), theirs, strict=True):
        assert len(mine) == len(their["scores"])
        torch.testing.assert_close(mine.boxes_xyxy, their["boxes"], rtol=1e-4, atol=1e-2)
        torch.testing.assert_close(mine.scores, their["scores"], rtol=1e-4, atol=1e-5)
        assert torch.equal(mine.labels, their["labels"])
        found += len(mine)
    assert found > 20


def test_it_loses_what_torchvision_does(pair: Any) -> None:
    ours, peer = pair
    targets = [
        Target(torch.tensor([[10.0, 12, 90, 100], [60, 20, 120, 70]]), torch.tensor([1, 4])),
        Target(torch.tensor([[30.0, 30, 62, 60]]), torch.tensor([0])),
    ]
    with torch.no_grad():
        batch, _ = peer.transform([image.float() / 255 for image in pictures()])
        features = list(peer.backbone(batch.tensors).values())
        theirs = peer.compute_loss(
            [{"boxes": one.boxes_xyxy, "labels": one.labels} for one in targets],
            peer.head(features),
            peer.anchor_generator(batch, features),
        )
        images = ours.collate(pictures())
        points = ours.grid(images)
        losses = ours.loss(ours(images), ours.assign(points, targets), points)
    torch.testing.assert_close(losses.terms["cls"], theirs["classification"], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(losses.terms["box"], theirs["bbox_regression"], rtol=1e-4, atol=1e-5)


def keys(make: Callable[..., nn.Module], **options: Any) -> dict[str, Tensor]:
    with torch.device("meta"):
        model = make(weights=None, weights_backbone=None, num_classes=2, **options)
    return {key: torch.zeros(value.shape) for key, value in model.state_dict().items()}


def test_files_from_before_torchvision_0_13_are_read(tmp_path: Path) -> None:
    older = {}
    for key, value in keys(retinanet_resnet50_fpn).items():
        name = re.sub(r"(inner_blocks|layer_blocks)\.(\d)\.0\.", r"\1.\2.", key)
        name = re.sub(r"head\.conv\.(\d)\.0\.", lambda m: f"head.conv.{2 * int(m[1])}.", name)
        older[name] = value
    assert "head.regression_head.conv.6.weight" in older
    torch.save(older, tmp_path / "a.pth")
    assert load_detector(tmp_path / "a.pth").head.options.num_convs == 4


def test_another_number_of_anchors_is_refused(tmp_path: Path) -> None:
    weights = keys(retinanet_resnet50_fpn)
    weights["head.regression_head.bbox_reg.weight"] = torch.zeros(12, 256, 3, 3)
    torch.save(weights, tmp_path / "a.pth")
    with pytest.raises(UserError, match=r"3 anchors a cell; torchvision's RetinaNet has 9"):
        load_detector(tmp_path / "a.pth")


def test_the_published_first_version_is_evaluated_as_torchvision_does(tmp_path: Path) -> None:
    assert PUBLISHED["torchvision/retinanet_resnet50_fpn_coco"].recipe == "published"
    assert PUBLISHED["torchvision/retinanet_resnet50_fpn_v2_coco"].recipe is None
    with torch.device("meta"):
        from torchvision.models import resnet50

        body = resnet50(norm_layer=FrozenBatchNorm2d).state_dict()
    weights = {k: v for k, v in keys(retinanet_resnet50_fpn).items() if "body" not in k}
    weights |= {
        f"backbone.body.{k}": torch.full(v.shape, 0.5)
        for k, v in body.items()
        if not k.startswith("fc.")
    }
    torch.save(weights, tmp_path / "a.pth")
    key = "stages.1.0.bn1.running_var"
    trained = load_detector(tmp_path / "a.pth").backbone.state_dict()[key]
    published = load_detector(tmp_path / "a.pth", recipe="published").backbone.state_dict()[key]
    torch.testing.assert_close(published + 1e-5, trained)
    assert (trained == 0.5).all()
