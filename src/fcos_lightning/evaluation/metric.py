"""The figures as a torchmetrics metric: detections are gathered over the ranks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from fcos_lightning.evaluation.coco import Backend, coco_summary
from fcos_lightning.evaluation.detections import DetectionTable
from fcos_lightning.evaluation.voc import voc_summary
from fcos_lightning.structures import Detections, GroundTruth

# An empty tensor of each state, by which a rank without images takes part in the gathering.
_EMPTY = {
    "image_ids": torch.empty(0, dtype=torch.int64),
    "counts": torch.empty(0, dtype=torch.int64),
    "boxes_xyxy": torch.empty(0, 4, dtype=torch.float32),
    "scores": torch.empty(0, dtype=torch.float32),
    "labels": torch.empty(0, dtype=torch.int64),
}


class DetectionMetric(Metric):
    """COCO AP and, if asked for, VOC mAP of all images of a ground truth.

    Use ``update`` and ``compute``; calling the metric would evaluate every batch. Under DDP every
    rank gets the result of all ranks. An image seen twice, which happens where a sampler pads its
    ranks to equal length, counts once; an image never seen has no detections. Nothing is kept in
    checkpoints.

    Args:
        truth: annotations of the images to be evaluated.
        protocol: ``"voc"`` adds the VOC figures to the COCO ones.
        backend: who computes the COCO figures, see `coco_summary`.

    Attributes:
        seen_only: whether images that were never seen are left out of the figures, as where only a
            part of the data set is looked at; else they count as without detections.

    Raises:
        ValueError: if the protocol or the backend is unknown.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    image_ids: list[Tensor]
    counts: list[Tensor]
    boxes_xyxy: list[Tensor]
    scores: list[Tensor]
    labels: list[Tensor]

    def __init__(
        self,
        truth: GroundTruth,
        *,
        protocol: Literal["coco", "voc"] = "coco",
        backend: Backend = "faster",
    ) -> None:
        super().__init__()
        if protocol not in ("coco", "voc"):
            raise ValueError(f"protocol must be 'coco' or 'voc', not {protocol!r}")
        if backend not in ("pycocotools", "faster"):
            raise ValueError(f"backend must be 'pycocotools' or 'faster', not {backend!r}")
        self.truth = truth
        self.protocol = protocol
        self.backend: Backend = backend
        self.seen_only = False
        self._table: DetectionTable | None = None
        for name in _EMPTY:
            self.add_state(name, default=[], dist_reduce_fx="cat", persistent=False)

    def update(self, image_ids: Tensor, detections: Sequence[Detections]) -> None:
        """Add the detections of a batch.

        Args:
            image_ids: ``[B]`` int64, ids as in the ground truth.
            detections: one per image, in pixels of the original images.

        Raises:
            ValueError: if the numbers of images differ. An unknown image is an error of
                ``compute``, where all ranks see it and none is left waiting.
        """
        if image_ids.shape != (len(detections),):
            raise ValueError(
                f"{len(detections)} images of detections need image ids of shape "
                f"[{len(detections)}], not {list(image_ids.shape)}"
            )
        if len(detections) == 0:
            return
        counts = torch.tensor([len(found) for found in detections], dtype=torch.int64)
        self._append(
            image_ids=image_ids,
            counts=counts,
            boxes_xyxy=torch.cat([found.boxes_xyxy.reshape(-1, 4) for found in detections]),
            scores=torch.cat([found.scores for found in detections]),
            labels=torch.cat([found.labels for found in detections]),
        )

    def compute(self) -> dict[str, Any]:
        """The figures of all images on all ranks; call it on every rank.

        Returns:
            What `coco_summary` returns; for protocol ``"voc"`` with ``mAP_11point`` and
            ``mAP_area`` beside it and ``AP_11point`` and ``AP_area`` in each class. Of a part of
            the images only, ``images_seen`` and ``images`` say of how many.

        Raises:
            ValueError: if an image or a label is unknown to the ground truth.
        """
        self._table = self._merged()
        truth, counted = self.truth, {}
        if self.seen_only:
            truth = truth.of_images(dim_zero_cat(self.image_ids).cpu().numpy())
            if len(truth) < len(self.truth):
                counted = {"images_seen": len(truth), "images": len(self.truth)}
        summary = {**counted, **coco_summary(truth, self._table, backend=self.backend)}
        if self.protocol == "voc":
            voc = voc_summary(truth, self._table)
            for name, row in voc.pop("per_class").items():
                summary["per_class"][name].update(row)
            summary.update(voc)
        return summary

    @property
    def table(self) -> DetectionTable:
        """Detections of all ranks that the last ``compute`` saw, in the order of the truth.

        Raises:
            RuntimeError: if nothing was computed since the last ``reset``.
        """
        if self._table is None:
            raise RuntimeError("call compute() on every rank before asking for the table")
        return self._table

    def reset(self) -> None:
        """Forget all detections."""
        super().reset()
        self._table = None

    def sync(
        self,
        dist_sync_fn: Callable[..., Any] | None = None,
        process_group: object | None = None,
        should_sync: bool = True,
        distributed_available: Callable[..., Any] | None = None,
    ) -> None:
        """Gather the states; the arguments are torchmetrics' own.

        A rank that saw no image has empty lists, for which torchmetrics would send a flat float
        tensor: of another type and dimension than the other ranks' boxes and ids.
        """
        if not self._is_synced and not self.image_ids:
            self._append(**_EMPTY)
        super().sync(dist_sync_fn, process_group, should_sync, distributed_available)

    def _append(self, **values: Tensor) -> None:
        for name, value in values.items():
            # .to(float32) also covers detections that were computed under autocast.
            kept = value.detach().to(self.device, _EMPTY[name].dtype)
            getattr(self, name).append(kept)

    def _merged(self) -> DetectionTable:
        """All detections, each image once, in the order of the ground truth.

        That order does not depend on the number of ranks, so neither does which of two equally
        scored detections counts as better.
        """
        joined = {name: dim_zero_cat(getattr(self, name)).cpu().numpy() for name in _EMPTY}
        ids, counts = joined["image_ids"], joined["counts"]
        unique_ids, first = np.unique(ids, return_index=True)
        positions = {
            image_id: place for place, image_id in enumerate(self.truth.image_ids.tolist())
        }
        # Unknown images come last; the evaluation names them in its error.
        places = [positions.get(image_id, len(positions)) for image_id in unique_ids.tolist()]
        first = first[np.argsort(np.asarray(places, dtype=np.int64), kind="stable")]
        kept = counts[first]
        start = (np.cumsum(counts) - counts)[first]
        rows = np.arange(kept.sum()) + np.repeat(start - (np.cumsum(kept) - kept), kept)
        return DetectionTable(
            image_ids=np.repeat(ids[first], kept),
            boxes_xyxy=joined["boxes_xyxy"][rows],
            scores=joined["scores"][rows],
            labels=joined["labels"][rows],
        )
