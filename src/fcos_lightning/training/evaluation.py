"""Measures the detector after each epoch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import lightning as L

from fcos_lightning.evaluation.metric import DetectionMetric
from fcos_lightning.structures import Batch, GroundTruth

#: Figures that are logged; the rest of a summary stays in ``Evaluation.summary``.
_LOGGED = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR100", "mAP_11point", "mAP_area")


class Evaluation(L.Callback):
    """Collects detections during validation, and logs AP at its end as ``val/AP`` and so on.

    Args:
        truth: annotations of the images that are evaluated.
        protocol: ``voc`` adds VOC mAP.
        backend: see ``coco_summary``.
    """

    def __init__(
        self,
        truth: GroundTruth,
        protocol: Literal["coco", "voc"] = "coco",
        backend: Literal["faster", "pycocotools"] = "faster",
    ) -> None:
        self.metric = DetectionMetric(truth, protocol=protocol, backend=backend)
        self.summary: dict[str, Any] = {}
        self.unreadable: set[str] = set()
        self.step = -1  # of the weights that were measured last

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Forget the detections of the last time."""
        self.metric.reset()
        self.metric.to(pl_module.device)

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Mapping[str, Any] | None,  # type: ignore[override]  # our step gives a mapping
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Take in the detections of a batch."""
        assert outputs is not None
        self.metric.update(batch.image_ids, outputs["detections"])
        self.unreadable.update(batch.unreadable)

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Evaluate the detections of all ranks; every rank has the same result."""
        self.summary = self.metric.compute()
        self.step = trainer.global_step
        for name in _LOGGED:
            if self.summary.get(name) is not None:
                pl_module.log(f"val/{name}", self.summary[name], prog_bar=name == "AP")
