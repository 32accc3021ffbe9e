"""Pictures of what the detector learns from, and of what it sees beside what is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor
from torchvision.ops import box_iou
from torchvision.utils import make_grid

from fcos_lightning.errors import UserError
from fcos_lightning.inference.pictures.drawing import draw, enlargement
from fcos_lightning.inference.pictures.fonts import legible
from fcos_lightning.storage.encoding import encoded
from fcos_lightning.storage.replacing import replacing
from fcos_lightning.structures import Batch, Detections
from fcos_lightning.training.loggers.pictures import show_picture
from fcos_lightning.training.module import FCOSModule

#: What boxes are: they stay apart for most of the colour-blind (Okabe and Ito, 2008).
HIT, MISSED, FALSE = "#56B4E9", "#F0E442", "#D55E00"
IGNORED = "#999999"
#: A detection finds an object of its class that it overlaps so much.
_IOU = 0.5
_HEAD_PX = 26


class Previews(L.Callback):
    """Draws images at the beginning of each epoch and after it.

    At the beginning those of the first batch, augmented, with what is to be learnt from them, each
    class in its colour and boxes to be ignored in grey.

    After it the first of the validation set. Each picture shows ground truth on the left and
    detections on the right: objects that are found and detections that are right in blue, missed
    objects in yellow, wrong detections in red. The loggers that take images get the pictures too.

    Args:
        folder: to write ``train_001.jpg``, ``epoch_001.jpg`` and so on into.
        images: how many.
        score_threshold: weaker detections are not drawn.
    """

    def __init__(
        self,
        folder: str | Path,
        images: int = 8,
        score_threshold: float = 0.5,
    ) -> None:
        self.folder = Path(folder)
        if images < 0:
            raise UserError(f"callbacks.previews.images={images}: give 0 or more")
        self.images = images
        self.score_threshold = score_threshold
        self._pairs: list[Tensor] = []

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        """Draw what is learnt from, of an epoch's first batch."""
        if batch_idx == 0 and trainer.is_global_zero and self.images:
            assert isinstance(pl_module, FCOSModule)
            names = pl_module.detector.class_names
            count = min(self.images, len(batch))
            self._write(trainer, "train", [_learnt(batch, index, names) for index in range(count)])

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Begin a new picture."""
        self._pairs = []

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Mapping[str, Any] | None,  # type: ignore[override]  # our step gives a mapping
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Draw the images of a batch, until there are enough."""
        if not trainer.is_global_zero or outputs is None:
            return
        for index, detections in enumerate(outputs["detections"]):
            if len(self._pairs) < self.images:
                assert isinstance(pl_module, FCOSModule)
                names = pl_module.detector.class_names
                self._pairs.append(self._pair(batch, index, detections, names))

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the picture."""
        if self._pairs and trainer.is_global_zero:
            self._write(trainer, "epoch", self._pairs)

    def _write(self, trainer: L.Trainer, name: str, images: Sequence[Tensor]) -> None:
        height, width = (max(image.shape[axis] for image in images) for axis in (1, 2))
        same = [
            torch.nn.functional.pad(image, (0, width - image.shape[2], 0, height - image.shape[1]))
            for image in images
        ]
        grid = make_grid(torch.stack(same), nrow=2, padding=4, pad_value=255)
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / f"{name}_{trainer.current_epoch + 1:03d}.jpg"
        picture = Image.fromarray(grid.permute(1, 2, 0).numpy())
        with replacing(file) as draft:
            draft.write(encoded(picture, "JPEG", quality=90))
        show_picture(trainer, "previews" if name == "epoch" else "train_images", picture)

    def _pair(
        self, batch: Batch, index: int, detections: Detections, names: Sequence[str] | None
    ) -> Tensor:
        image, larger = _enlarged(batch, index)
        valid = batch.targets.labels[index] >= 0
        wanted = batch.targets.boxes_xyxy[index][valid].cpu() * larger
        wanted_labels = batch.targets.labels[index][valid].cpu()
        strong = detections.scores.cpu() >= self.score_threshold
        resized = batch.images.sizes_hw[index].cpu() / batch.original_sizes_hw[index].cpu()
        boxes = detections.boxes_xyxy.cpu()[strong] * resized.flip(0).repeat(2) * larger
        labels, scores = detections.labels.cpu()[strong], detections.scores.cpu()[strong]
        right, found = _matched(wanted, wanted_labels, boxes, labels, scores)
        colours = [HIT if hit else MISSED for hit in found]
        truth = draw(image, wanted, wanted_labels, names, colours=colours)
        colours = [HIT if hit else FALSE for hit in right]
        detected = draw(image, boxes, labels, names, scores, colours)
        missed, false = found.count(False), right.count(False)
        left = [("truth", "white"), (f"{sum(found)} found", HIT), (f"{missed} missed", MISSED)]
        behind = [("found", "white"), (f"{sum(right)} right", HIT), (f"{false} false", FALSE)]
        return torch.cat([_headed(truth, left), _headed(detected, behind)], dim=2)


def _enlarged(batch: Batch, index: int) -> tuple[Tensor, int]:
    """Return an image of a batch without its padding, and how many times it was enlarged."""
    height, width = batch.images.sizes_hw[index].tolist()
    image = batch.images.pixels[index, :, :height, :width].cpu()
    larger = enlargement(width, height)
    return image.repeat_interleave(larger, 1).repeat_interleave(larger, 2), larger


def _learnt(batch: Batch, index: int, names: Sequence[str] | None) -> Tensor:
    """Return an image of a batch with its boxes drawn, those to be ignored below the others."""
    image, larger = _enlarged(batch, index)
    targets = batch.targets
    valid = targets.labels[index] >= 0
    boxes, labels = targets.boxes_xyxy[index][valid].cpu(), targets.labels[index][valid].cpu()
    count = f"{len(labels)} boxes"
    head = [("learnt from", "white"), (count, "white")]
    if targets.ignored_xyxy is not None:
        ignored = targets.ignored_xyxy[index].cpu()
        ignored = ignored[(ignored[:, 2:] > ignored[:, :2]).all(dim=1)]
        none = torch.zeros(len(ignored), dtype=torch.int64)
        image = draw(image, ignored * larger, none, ("ignored",), colours=[IGNORED] * len(ignored))
        head.append((f"{len(ignored)} to ignore", IGNORED))
    return _headed(draw(image, boxes * larger, labels, names), head)


def _matched(
    wanted: Tensor, wanted_labels: Tensor, boxes: Tensor, labels: Tensor, scores: Tensor
) -> tuple[list[bool], list[bool]]:
    """Tell which detections are right, the best first in turn, and which objects are found."""
    right, found = [False] * len(boxes), [False] * len(wanted)
    overlap = box_iou(boxes.double(), wanted.double())
    overlap = overlap.where(labels[:, None] == wanted_labels, 0.0)
    for row in scores.argsort(descending=True, stable=True).tolist() if len(wanted) else ():
        free = overlap[row].masked_fill(torch.tensor(found), 0.0)
        best = int(free.argmax())
        if free[best] >= _IOU:
            right[row] = found[best] = True
    return right, found


def _headed(image: Tensor, words: Sequence[tuple[str, str]]) -> Tensor:
    """Put words above an image, each in its colour, as far as there is room."""
    head = Image.new("RGB", (image.shape[2], _HEAD_PX), "#202020")
    pen, x = ImageDraw.Draw(head), 6.0
    for word, colour in words:
        text, font = legible(word, 16)
        pen.text((x, 3), text, fill=colour, font=font)
        x += pen.textlength(text, font=font) + 14
    return torch.cat([torch.from_numpy(np.array(head)).permute(2, 0, 1), image], dim=1)
