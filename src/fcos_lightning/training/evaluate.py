"""The figures that are reported: a detector over all images of a split, by pycocotools."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import lightning as L

from fcos_lightning.data import DetectionDataModule
from fcos_lightning.detector import FCOS
from fcos_lightning.evaluation.table import DetectionTable
from fcos_lightning.training.cluster import cluster_plugins
from fcos_lightning.training.evaluation import Evaluation
from fcos_lightning.training.module import FCOSModule

#: Settings of a trainer that evaluation shares with training.
EVALUATION_SETTINGS = ("accelerator", "devices", "num_nodes", "strategy", "precision")


def evaluate(
    detector: FCOS,
    datamodule: DetectionDataModule,
    trainer: Mapping[str, Any],
    progress: bool = True,
) -> tuple[dict[str, Any], DetectionTable, Evaluation]:
    """Evaluate a detector on the validation split.

    Args:
        detector: to be measured.
        datamodule: of the images.
        trainer: settings of the Trainer; those that concern training are left out.
        progress: whether to show a progress bar.

    Returns:
        The summary, the detections in pixels of the original images, and the callback that
        collected them.
    """
    evaluation = Evaluation(datamodule.val.truth, datamodule.protocol, backend="pycocotools")
    tester = L.Trainer(
        **{key: trainer[key] for key in EVALUATION_SETTINGS if key in trainer},
        callbacks=[evaluation],
        plugins=cluster_plugins(),  # type: ignore[arg-type]  # a list of one of the kinds it takes
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=progress,
        use_distributed_sampler=False,
    )
    tester.validate(FCOSModule(detector), datamodule=datamodule, verbose=False)
    return evaluation.summary, evaluation.metric.table, evaluation
