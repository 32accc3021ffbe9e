"""Measures the detector after each epoch."""

from __future__ import annotations

import math
from typing import Any, Literal

import lightning as L

from fcos_lightning.data import DetectionDataModule
from fcos_lightning.errors import UserError
from fcos_lightning.evaluation.metric import DetectionMetric
from fcos_lightning.structures import Batch, GroundTruth

#: Figures that are logged; the rest of a summary stays in ``Evaluation.summary``.
LOGGED = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR100", "mAP_11point", "mAP_area")


class Evaluation(L.Callback):
    """Collects detections, and logs AP at the end as ``val/AP`` and so on, in a test ``test/AP``.

    Args:
        truth: annotations of the images that are evaluated; None: those of the Trainer's data
            module.
        protocol: ``voc`` adds VOC mAP.
        backend: see ``coco_summary``.
    """

    def __init__(
        self,
        truth: GroundTruth | None = None,
        protocol: Literal["coco", "voc"] = "coco",
        backend: Literal["faster", "pycocotools"] = "faster",
    ) -> None:
        self.backend: Literal["faster", "pycocotools"] = backend
        self._metric = None if truth is None else self._metric_of(truth, protocol)
        self._given = truth is not None
        self.summary: dict[str, Any] = {}
        self.unreadable: set[str] = set()
        self.step = -1  # of the weights that were measured last

    def _metric_of(self, truth: GroundTruth, protocol: Literal["coco", "voc"]) -> DetectionMetric:
        return DetectionMetric(truth, protocol=protocol, backend=self.backend)

    def state_dict(self) -> dict[str, Any]:
        """Return what a run that goes on has to know of what was measured; called by Lightning."""
        return {"step": self.step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take that over; called by Lightning."""
        self.step = int(state_dict["step"])

    @property
    def metric(self) -> DetectionMetric:
        """What the detections are collected in."""
        if self._metric is None:
            raise RuntimeError("nothing was evaluated yet, so there is no metric")
        return self._metric

    def _begin(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        if not self._given:
            data = getattr(trainer, "datamodule", None)
            if not isinstance(data, DetectionDataModule):
                raise UserError(
                    "figures need ground truth: give the Trainer datamodule= (one of "
                    "fcos_lightning.data), or callbacks=[Evaluation(truth)]"
                )
            split = (data.test if stage == "test" else None) or data.measured
            if self._metric is None or self._metric.truth is not split.truth:
                self._metric = self._metric_of(split.truth, data.protocol)
        self.metric.reset()
        self.metric.seen_only = _looks_at_some(trainer)
        self.metric.to(pl_module.device)

    def _take(self, outputs: Any, batch: Batch) -> None:  # noqa: ANN401  # our step gives a mapping
        self.metric.update(batch.image_ids, outputs["detections"])
        self.unreadable.update(batch.unreadable)

    def _end(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        self.summary = self.metric.compute()
        self.step = trainer.global_step
        monitored = {getattr(one, "monitor", None) for one in trainer.callbacks}  # type: ignore[attr-defined]  # set in its constructor
        for name in LOGGED:
            figure = self.summary.get(name)
            # Every rank has the same figures; of equal ones the largest is exact.
            same: dict[str, Any] = {"sync_dist": True, "reduce_fx": "max"}
            if figure is not None:
                pl_module.log(f"{stage}/{name}", figure, prog_bar=name == "AP", **same)
            elif name in self.summary and f"{stage}/{name}" in monitored:
                # Nothing is there to be found; to who waits for the figure, that is no number.
                pl_module.log(f"{stage}/{name}", math.nan, logger=False, **same)

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Forget the detections of the last time."""
        self._begin(trainer, pl_module, "val")

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,  # noqa: ANN401  # Lightning's signature
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Take in the detections of a batch."""
        self._take(outputs, batch)

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Evaluate the detections of all ranks; every rank has the same result."""
        self._end(trainer, pl_module, "val")

    def on_test_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Forget the detections of the last time."""
        self._begin(trainer, pl_module, "test")

    def on_test_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,  # noqa: ANN401  # Lightning's signature
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Take in the detections of a batch."""
        self._take(outputs, batch)

    def on_test_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Evaluate the detections of all ranks; every rank has the same result."""
        self._end(trainer, pl_module, "test")


def _looks_at_some(trainer: L.Trainer) -> bool:
    """Tell whether a Trainer is told to pass over images: those are not missed but unknown."""
    limits = {"validate": trainer.limit_val_batches, "test": trainer.limit_test_batches}
    stage = trainer.state.fn.value if trainer.state.fn else ""
    limit = limits.get(stage, trainer.limit_val_batches)
    whole = limit is None or (isinstance(limit, float) and limit == 1.0)
    return trainer.sanity_checking or bool(getattr(trainer, "fast_dev_run", False)) or not whole
