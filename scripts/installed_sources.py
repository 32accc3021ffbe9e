"""Comparisons with detectors of the torchvision that is installed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models.detection import (
    RetinaNet,
    fcos_resnet50_fpn,
    retinanet_resnet50_fpn,
    retinanet_resnet50_fpn_v2,
)

from fcos_lightning import load_detector
from fcos_lightning.boxes import xyxy_to_ltrb
from fcos_lightning.structures import Detections
from plain_sources.difference import Difference, difference

RETINANETS: tuple[Callable[..., RetinaNet], ...] = (
    retinanet_resnet50_fpn,
    retinanet_resnet50_fpn_v2,
)


def compare_torchvision(height: int, width: int, checkpoint: Path) -> Difference:
    """Compare with the installed torchvision on two images, the larger of this size."""
    torch.manual_seed(height)
    model = _lively(fcos_resnet50_fpn(weights=None, weights_backbone=None))
    nn.init.constant_(model.head.classification_head.cls_logits.bias, -3.0)
    torch.save(model.state_dict(), checkpoint)
    images = _images(height, width)
    detector = load_detector(checkpoint)
    with torch.inference_mode():
        found = model([image.float() / 255 for image in images])
        batch, _ = model.transform([image.float() / 255 for image in images])
        outputs = model.head(list(model.backbone(batch.tensors).values()))
    strides = detector.grid(tuple(batch.tensors.shape[-2:])).stride[None, :, None]
    prediction = detector.predict(images)
    return difference(
        ("torchvision", f"fcos_resnet50_fpn at {height}x{width}"),
        (prediction.cls_logits, outputs["cls_logits"]),
        (prediction.ltrb_px, outputs["bbox_regression"] * strides),
        (prediction.quality_logits, outputs["bbox_ctrness"].squeeze(-1)),
        (
            detector.detect(images),
            [Detections(one["boxes"], one["scores"], one["labels"]) for one in found],
        ),
    )


def compare_retinanet(make: Callable[..., RetinaNet], checkpoint: Path) -> Difference:
    """Compare with a RetinaNet of the installed torchvision on two images."""
    height, width = 200, 264
    torch.manual_seed(height)
    model = _lively(make(weights=None, weights_backbone=None))
    images = _images(height, width)
    with torch.inference_mode():
        batch, _ = model.transform([image.float() / 255 for image in images])
        features = list(model.backbone(batch.tensors).values())
        heads = (model.head.classification_head, "cls_logits", 1.2), (
            model.head.regression_head, "bbox_reg", 0.2
        )  # fmt: skip
        for head, name, spread in heads:  # scores that differ, and boxes that stay about their size
            last: nn.Conv2d = getattr(head, name)
            last.bias.zero_()  # type: ignore[union-attr]  # it has one
            last.weight *= spread / head(features).std()
        model.head.classification_head.cls_logits.bias.fill_(-6.0)
        outputs = model.head(features)
        anchors = model.anchor_generator(batch, features)
        boxes = [
            model.box_coder.decode_single(offsets, of_image)
            for offsets, of_image in zip(outputs["bbox_regression"], anchors, strict=True)
        ]
        found = model([image.float() / 255 for image in images])
    torch.save(model.state_dict(), checkpoint)
    detector = load_detector(checkpoint)
    prediction = detector.predict(images)
    points = detector.grid((int(batch.tensors.shape[-2]), int(batch.tensors.shape[-1])))
    return difference(
        ("torchvision", f"{make.__name__} at {height}x{width}"),
        (prediction.cls_logits, outputs["cls_logits"]),
        (prediction.ltrb_px, xyxy_to_ltrb(points.xy, torch.stack(boxes))),
        None,
        (
            detector.detect(images),
            [Detections(one["boxes"], one["scores"], one["labels"]) for one in found],
        ),
    )


def _lively(model: nn.Module) -> nn.Module:
    """Weights under which it finds something, and a transform that resizes nothing."""
    model.eval()
    # Ours resizes nothing either; all the rest of its transform stays.
    model.transform.resize = lambda image, target=None: (image, target)  # type: ignore[union-attr]
    for module in model.modules():
        # Fresh weights give the same faint answer everywhere.
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, a=1)
            if module.bias is not None:
                nn.init.normal_(module.bias, std=0.1)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.3, 0.7)
    return model


def _images(height: int, width: int) -> list[Tensor]:
    return [
        torch.randint(0, 256, (3, h, w), dtype=torch.uint8)
        for h, w in ((height, width), (height - 30, width - 41))
    ]
