"""Pictures of what the detector sees, beside what is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning as L
import torch
from PIL import Image
from torch import Tensor
from torchvision.utils import make_grid

from fcos_lightning.errors import UserError
from fcos_lightning.inference.drawing import draw
from fcos_lightning.storage.replacing import replacing
from fcos_lightning.structures import Batch, Detections
from fcos_lightning.training.module import FCOSModule

#: Smaller pictures are enlarged, so that names can be read beside their objects.
_LEGIBLE_PX = 320
#: What a longer side is not enlarged beyond: JPEG has an end, and memory too.
_LONGEST_PX = 1400


class Previews(L.Callback):
    """Draws the first images of the validation set after each epoch.

    Each picture shows ground truth on the left and detections on the right.

    Args:
        folder: to write ``epoch_001.jpg`` and so on into.
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
        if not self._pairs or not trainer.is_global_zero:
            return
        height = max(pair.shape[1] for pair in self._pairs)
        width = max(pair.shape[2] for pair in self._pairs)
        same = [
            torch.nn.functional.pad(pair, (0, width - pair.shape[2], 0, height - pair.shape[1]))
            for pair in self._pairs
        ]
        grid = make_grid(torch.stack(same), nrow=2, padding=4, pad_value=255)
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / f"epoch_{trainer.current_epoch + 1:03d}.jpg"
        with replacing(file) as draft:
            Image.fromarray(grid.permute(1, 2, 0).numpy()).save(draft, "JPEG", quality=90)

    def _pair(
        self, batch: Batch, index: int, detections: Detections, names: Sequence[str] | None
    ) -> Tensor:
        height, width = batch.images.sizes_hw[index].tolist()
        image = batch.images.pixels[index, :, :height, :width].cpu()
        larger = max(1, min(_LEGIBLE_PX // min(height, width), _LONGEST_PX // max(height, width)))
        image = image.repeat_interleave(larger, 1).repeat_interleave(larger, 2)
        valid = batch.targets.labels[index] >= 0
        truth = draw(
            image,
            batch.targets.boxes_xyxy[index][valid].cpu() * larger,
            batch.targets.labels[index][valid].cpu(),
            names,
        )
        strong = detections.scores.cpu() >= self.score_threshold
        resized = batch.images.sizes_hw[index].cpu() / batch.original_sizes_hw[index].cpu()
        found = draw(
            image,
            detections.boxes_xyxy.cpu()[strong] * resized.flip(0).repeat(2) * larger,
            detections.labels.cpu()[strong],
            names,
            detections.scores.cpu()[strong],
        )
        return torch.cat([truth, found], dim=2)
