"""The detector: composes backbone, FPN, head, assignment, loss and decoding."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn

from fcos_lightning.detector.loss import normalisers_of
from fcos_lightning.detector.points import make_points
from fcos_lightning.structures import (
    Assignment,
    Detections,
    Images,
    Losses,
    Normalisers,
    Points,
    Prediction,
    Target,
    Targets,
)


class FCOS(nn.Module):
    """Fully convolutional one-stage detector (arXiv 1904.01355, 2006.09214).

    One training step reads: points, prediction, assignment, normalisers, losses. Made by
    ``build_fcos``, which derives every number that can be derived.

    Args:
        backbone: normalised images -> feature maps.
        fpn: feature maps -> one map for each level; has ``.strides``.
        head: maps -> ``Prediction``.
        assigner: as ``fcos_lightning.detector.assign``, size ranges given.
        loss: as ``fcos_lightning.detector.fcos_loss``.
        decoder: as ``fcos_lightning.detector.decode``.
        mean: of each channel on the 0 to 255 scale, in ``channel_order``.
        std: of each channel on the 0 to 255 scale, in ``channel_order``.
        channel_order: in which the backbone takes channels; images are always given as RGB.
        point_offset: where in its cell a point sits, see ``make_points``.
        point_spacing: ``stride``, or ``image``: see ``image_size`` of ``make_points``.
        class_names: one per label, or None where nobody said.
        category_ids: one per label, the ids of the data set it was trained on, or None.
        spec: keyword arguments with which ``build_fcos`` makes this detector again.
    """

    def __init__(
        self,
        backbone: nn.Module,
        fpn: nn.Module,
        head: nn.Module,
        *,
        assigner: Callable[..., Assignment],
        loss: Callable[..., Losses],
        decoder: Callable[..., list[Detections]],
        mean: Sequence[float],
        std: Sequence[float],
        channel_order: Literal["rgb", "bgr"] = "rgb",
        point_offset: float = 0.5,
        point_spacing: Literal["stride", "image"] = "stride",
        class_names: Sequence[str] | None = None,
        category_ids: Sequence[int] | None = None,
        spec: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.fpn = fpn
        self.head = head
        self.assigner = assigner
        self.loss_function = loss
        self.decoder = decoder
        self.channel_order = channel_order
        self.point_offset = point_offset
        self.point_spacing = point_spacing
        self.class_names = None if class_names is None else tuple(class_names)
        self.category_ids = None if category_ids is None else tuple(category_ids)
        self.spec = dict(spec or {})
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)
        self.mean: Tensor
        self.std: Tensor

    @property
    def strides(self) -> tuple[int, ...]:
        """Stride of each level in pixels."""
        return tuple(self.fpn.strides)  # type: ignore[arg-type]  # a plain attribute of the FPN

    @property
    def size_multiple(self) -> int:
        """Height and width of a batch are padded to a multiple of this: the backbone's stride."""
        return int(max(self.backbone.strides))  # type: ignore[arg-type]  # likewise

    def forward(self, images: Images) -> Prediction:
        """Return the prediction for a batch of padded images, in training and evaluation alike."""
        prediction: Prediction = self.head(self.fpn(self.backbone(self.normalise(images))))
        return prediction

    def normalise(self, images: Images) -> Tensor:
        """Return ``[B, 3, H, W]`` float32, normalised, and exactly zero outside each image."""
        pixels = images.pixels.flip(1) if self.channel_order == "bgr" else images.pixels
        normal = (pixels.to(self.mean.dtype) - self.mean) / self.std
        height, width = images.padded_size
        rows = torch.arange(height, device=normal.device) < images.sizes_hw[:, :1]
        columns = torch.arange(width, device=normal.device) < images.sizes_hw[:, 1:]
        inside = rows[:, None, :, None] & columns[:, None, None, :]
        return torch.where(inside, normal, 0.0)

    def points(self, padded_size: tuple[int, int]) -> Points:
        """Return the points of all levels for a padded image of this height and width."""
        height, width = padded_size
        sizes = [(math.ceil(height / stride), math.ceil(width / stride)) for stride in self.strides]
        image_size = padded_size if self.point_spacing == "image" else None
        return make_points(
            sizes, self.strides, self.point_offset, self.mean.device, image_size=image_size
        )

    def assign(self, points: Points, targets: Targets | Sequence[Target]) -> Assignment:
        """Return which box each point answers for."""
        return self.assigner(points, targets)

    def normalisers(self, assignment: Assignment) -> Normalisers:
        """Return what the losses of this batch are divided by."""
        return normalisers_of(assignment)

    def loss(
        self,
        prediction: Prediction,
        assignment: Assignment,
        points: Points,
        normalisers: Normalisers | None = None,
    ) -> Losses:
        """Return the three losses of a batch."""
        return self.loss_function(prediction, assignment, points, normalisers)

    def decode(self, prediction: Prediction, points: Points, sizes_hw: Tensor) -> list[Detections]:
        """Return the final boxes of each image, in pixels of the padded input."""
        return self.decoder(prediction, points, sizes_hw)

    def collate(self, images: Sequence[Tensor]) -> Images:
        """Pad RGB uint8 images ``[3, H, W]`` of any sizes to a batch on the detector's device."""
        for image in images:
            fits = image.ndim == 3 and image.shape[0] == 3 and image.numel() > 0
            if not fits or image.dtype != torch.uint8:
                raise ValueError(
                    f"expected RGB uint8 images [3, H, W], got {list(image.shape)} {image.dtype}"
                )
        return Images.pad(images, self.size_multiple).to(self.mean.device)

    @torch.inference_mode()
    def predict(self, images: Sequence[Tensor]) -> Prediction:
        """Return what the head says about RGB uint8 images ``[3, H, W]`` of any sizes."""
        with self._evaluating():
            prediction: Prediction = self(self.collate(images))
        return prediction

    @torch.inference_mode()
    def detect(self, images: Sequence[Tensor]) -> list[Detections]:
        """Return the boxes found in RGB uint8 images ``[3, H, W]``, in each image's own pixels.

        Nothing is resized: a detector trained at a shorter side of 800 expects such images.
        """
        batch = self.collate(images)
        with self._evaluating():
            prediction = self(batch)
        return self.decode(prediction, self.points(batch.padded_size), batch.sizes_hw)

    @contextmanager
    def _evaluating(self) -> Iterator[None]:
        """Keep a look at images in the midst of training from moving BatchNorm's statistics."""
        training = self.training
        self.eval()
        try:
            yield
        finally:
            self.train(training)
