"""The figures that are reported: a detector over all images of a split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import lightning as L
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from fcos_lightning.data import DetectionDataModule
from fcos_lightning.detector import DenseDetector
from fcos_lightning.errors import UserError
from fcos_lightning.evaluation.detections import DetectionTable
from fcos_lightning.inference.engines.file_detector import FileDetector
from fcos_lightning.inference.engines.finder import Finder
from fcos_lightning.inference.tiling.looking import InTiles, nms_iou_of
from fcos_lightning.inference.tiling.rows import InMemory
from fcos_lightning.inference.tiling.windows import Tiles
from fcos_lightning.inference.views import detect_merged
from fcos_lightning.lightning_internals import signals_left_alone
from fcos_lightning.structures import Detections, Views
from fcos_lightning.structures.batches import LARGEST_SIDES
from fcos_lightning.training.callbacks.figures import Evaluation
from fcos_lightning.training.module import FCOSModule
from fcos_lightning.training.ranks.cluster import cluster_plugins
from fcos_lightning.training.ranks.other_ranks import together

#: Settings of a trainer that evaluation shares with training.
EVALUATION_SETTINGS = ("accelerator", "devices", "num_nodes", "strategy", "precision")
#: Those that change which images are looked at, or how; only where they are asked for.
ASKED_FOR = ("limit_val_batches", "deterministic", "benchmark", "inference_mode")


@dataclass(frozen=True)
class ViewSizes:
    """What an image is seen in when it is tested in several sizes.

    Attributes:
        sizes: shorter sides in pixels.
        longer_side: what the longer side may at most become.
        flip: whether each is seen mirrored as well.
    """

    sizes: tuple[int, ...]
    longer_side: int
    flip: bool

    def __post_init__(self) -> None:
        largest = LARGEST_SIDES["shorter_side"]
        if self.sizes and max(self.sizes) > largest:
            raise UserError(f"test.sizes={list(self.sizes)}: give at most {largest} pixels")
        if not self.sizes or min(self.sizes) < 1 or self.longer_side < 1:
            raise UserError(
                f"test.sizes={list(self.sizes)} test.longer_side={self.longer_side}: give pixels "
                "above 0"
            )


class _Merging(FCOSModule):
    """Tests images in several sizes."""

    def __init__(
        self, detector: DenseDetector, data: DetectionDataModule, views: ViewSizes
    ) -> None:
        super().__init__(detector)
        self.data = data
        self.views = views

    def val_dataloader(self) -> DataLoader[Views]:
        return self.data.views_dataloader(self.views.sizes, self.views.longer_side)

    def validation_step(  # type: ignore[override]  # of another kind of batch
        self, batch: Views, batch_idx: int
    ) -> dict[str, list[Detections]]:
        original = batch.original_sizes_hw[0]
        merged = detect_merged(self.detector, batch.images, original, self.views.flip)
        return {"detections": [merged]}


@dataclass(frozen=True)
class TiledSizes:
    """How an image is cut when it is tested in tiles, or by a file that is given whole images.

    Attributes:
        tiles: where they lie; None: images are not cut.
        sides: to which a tile, and the whole image, is resized: the shorter side, and what the
            longer one may at most become.
        size_hw: height and width of the only images that the detector takes; None: of any.
    """

    tiles: Tiles | None
    sides: tuple[int, int]
    size_hw: tuple[int, int] | None = None


class _AsPredicted(L.LightningModule):
    """Tests images as ``Predictor`` looks at them, large ones in tiles."""

    def __init__(self, detector: Finder, data: DetectionDataModule, tiled: TiledSizes) -> None:
        super().__init__()
        self.detector = detector
        self.data = data
        self.in_tiles = InTiles(
            self._found, tiled.tiles, tiled.sides, nms_iou_of(detector), size_hw=tiled.size_hw
        )

    def val_dataloader(self) -> DataLoader[Views]:
        return self.data.views_dataloader([None], LARGEST_SIDES["longer_side"])

    def validation_step(self, batch: Views, batch_idx: int) -> dict[str, list[Detections]]:
        (view,) = batch.images
        height, width = view.sizes_hw[0].tolist()
        planes = view.pixels[0, :, :height, :width]
        image = np.ascontiguousarray(planes.permute(1, 2, 0).cpu().numpy())
        if self.in_tiles.cuts(height, width):
            found = self.in_tiles(InMemory(image))
        else:
            found = self.in_tiles.whole(image)
        # The size of a file that cannot be read is that of its annotation.
        seen, original = torch.tensor([height, width]), batch.original_sizes_hw[0].cpu()
        return {"detections": [found.resized(seen, original).to(self.device)]}

    def _found(self, images: Sequence[Tensor]) -> list[Detections]:
        return [one.to("cpu") for one in self.detector.detect(images)]


def evaluate(
    detector: DenseDetector | FileDetector,
    datamodule: DetectionDataModule,
    trainer: Mapping[str, Any],
    progress: bool = True,
    views: ViewSizes | TiledSizes | None = None,
    split: Literal["val", "test"] = "val",
) -> tuple[dict[str, Any], DetectionTable, Evaluation]:
    """Evaluate a detector on a split.

    Args:
        detector: to be measured; a converted file with ``views`` that say its sides.
        datamodule: of the images.
        trainer: settings of the Trainer; those that concern training are left out.
        progress: whether to show a progress bar.
        views: test every image in several sizes, or in tiles; None: in one size, that of the data
            module.
        split: which; ``test`` is that of the data module where it has one.

    Returns:
        The summary, the detections in pixels of the original images, and the callback that
        collected them.
    """
    with datamodule.measuring(split):
        evaluation = Evaluation(datamodule.measured.truth, datamodule.protocol)
        tester = L.Trainer(
            **{key: trainer[key] for key in (*EVALUATION_SETTINGS, *ASKED_FOR) if key in trainer},
            callbacks=[evaluation],
            plugins=cluster_plugins(),  # type: ignore[arg-type]  # a list of one of the kinds it takes
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=progress,
            use_distributed_sampler=False,
        )
        with together(tester), signals_left_alone(tester):
            if views is None:
                assert isinstance(detector, DenseDetector)
                tester.validate(FCOSModule(detector), datamodule=datamodule, verbose=False)
            else:
                datamodule.trainer = tester  # which rank asks for the loader is known only then
                if isinstance(views, TiledSizes):
                    tester.validate(_AsPredicted(detector, datamodule, views), verbose=False)
                else:
                    assert isinstance(detector, DenseDetector)
                    tester.validate(_Merging(detector, datamodule, views), verbose=False)
        return evaluation.summary, evaluation.metric.table, evaluation
