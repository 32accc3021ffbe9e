"""The detector: composes backbone, FPN, grid, head, assigner, loss and decoder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn

from fcos_lightning.detector.grid import Grid
from fcos_lightning.detector.ignoring import pass_over
from fcos_lightning.detector.parts import Assigner, Decoder, Loss
from fcos_lightning.structures import (
    Assignment,
    Detections,
    Images,
    Points,
    Prediction,
    Target,
    Targets,
)


class DenseDetector(nn.Module):
    """A detector that predicts at every place of a grid, without proposals.

    FCOS (arXiv 1904.01355, 2006.09214) is one, RetinaNet another: they differ in their parts. A
    training step reads ``grid``, the detector itself, ``assign``, ``loss``; in evaluation
    ``decode`` takes the place of the last two. Made by ``build_detector``, which derives every
    number that can be derived.

    Args:
        backbone: normalised images -> feature maps.
        fpn: feature maps -> one map for each level; has ``.strides``.
        head: maps -> ``Prediction``.
        grid: padded size -> ``Points``.
        assigner: points and targets -> ``Assignment``.
        loss: prediction and assignment -> ``Losses``.
        decoder: prediction and points -> ``Detections``.
        mean: of each channel on the 0 to 255 scale, in ``channel_order``.
        std: of each channel on the 0 to 255 scale, in ``channel_order``.
        channel_order: in which the backbone takes channels; images are always given as RGB.
        padding: sides of a batch are rounded up to a ``multiple`` of the backbone's stride, or to
            the next one ``beyond`` each side, even if it is a multiple already (rosinality).
        class_names: one per label, or None where nobody said.
        category_ids: one per label, the ids of the data set it was trained on, or None.
        spec: keyword arguments with which ``build_detector`` makes this detector again.
    """

    def __init__(
        self,
        backbone: nn.Module,
        fpn: nn.Module,
        head: nn.Module,
        *,
        grid: Grid,
        assigner: Assigner,
        loss: Loss,
        decoder: Decoder,
        mean: Sequence[float],
        std: Sequence[float],
        channel_order: Literal["rgb", "bgr"] = "rgb",
        padding: Literal["multiple", "beyond"] = "multiple",
        class_names: Sequence[str] | None = None,
        category_ids: Sequence[int] | None = None,
        spec: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.fpn = fpn
        self.head = head
        self.grid = grid
        self.assigner = assigner
        self.loss = loss
        self.decoder = decoder
        self.channel_order = channel_order
        self.pad_beyond = padding == "beyond"
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
        return self.grid.strides

    @property
    def size_multiple(self) -> int:
        """Height and width of a batch are padded to a multiple of this: the backbone's stride."""
        return int(max(self.backbone.strides))  # type: ignore[arg-type]  # a plain attribute

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

    def assign(
        self,
        points: Points,
        targets: Targets | Sequence[Target],
        prediction: Prediction | None = None,
    ) -> Assignment:
        """Return which box each point answers for, see ``Assigner`` and ``pass_over``."""
        return pass_over(self.assigner(points, targets, prediction), points, targets)

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
        batch = Images.pad(images, self.size_multiple, self.pad_beyond)
        return batch.to(self.mean.device)

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
        return self.decode(prediction, self.grid(batch), batch.sizes_hw)

    @contextmanager
    def _evaluating(self) -> Iterator[None]:
        """Keep a look at images in the midst of training from moving BatchNorm's statistics."""
        training = self.training
        self.eval()
        try:
            yield
        finally:
            self.train(training)
