"""Lightning's callbacks: which of them do what they say in a run, and which are refused.

A test compares the tables here with all that Lightning offers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import lightning.pytorch.callbacks as kinds

from fcos_lightning.errors import UserError
from fcos_lightning.evaluation.coco import measurable
from fcos_lightning.printing import printable
from fcos_lightning.runs.objects.targets import target
from fcos_lightning.runs.options.checkpoints import FIGURES, check_checkpoints
from fcos_lightning.storage.run_folder import RunFolder
from fcos_lightning.structures import GroundTruth

#: Those that work. Bases of others are here too: what is derived from them is the user's own.
WORK = (
    "BaseFinetuning",
    "BasePredictionWriter",
    "Callback",
    "Checkpoint",
    "DeviceStatsMonitor",
    "EarlyStopping",
    "EMAWeightAveraging",
    "LambdaCallback",
    "LearningRateMonitor",
    "ModelCheckpoint",
    "ModelSummary",
    "OnExceptionCheckpoint",
    "ProgressBar",
    "RichModelSummary",
    "RichProgressBar",
    "TQDMProgressBar",
    "Timer",
    "WeightAveraging",
)

#: Those that are refused, and what to do instead.
REFUSED: Mapping[str, str] = {
    "BackboneFinetuning": (
        "how much of the backbone learns is model.backbone.frozen_stages, and how fast "
        "schedule.backbone_lr_factor"
    ),
    "BatchSizeFinder": (
        "it would change the batch and leave the learning rate, which schedule.lr and "
        "schedule.reference_batch say for a batch of a given size; choose data.batch_size"
    ),
    "GradientAccumulationScheduler": (
        "the length of the run and the learning rate follow from one number of batches a step: "
        "trainer.accumulate_grad_batches"
    ),
    "LearningRateFinder": (
        "the learning rate is schedule.lr; try several by `fcos-train -m schedule.lr=0.02,0.01`"
    ),
    "ModelPruning": "it renames the weights, so that no checkpoint of it could be loaded again",
    "SpikeDetection": (
        "it ends a run without a checkpoint; callbacks.guard stops one whose loss is no number, "
        "and trainer.gradient_clip_val=10 keeps spikes small"
    ),
    "StochasticWeightAveraging": (
        "it sets the learning rate itself and averages after the last validation, so that nobody "
        "measures what is kept; callbacks=ema averages the weights as they are learnt"
    ),
    "ThroughputMonitor": "images per second are logged as speed/images_per_s",
}

#: Names of figures that are logged besides those of the validation.
_LOGGED = ("train/", "positives/", "speed/")


def check_callbacks(
    nodes: Mapping[str, Any],
    run: RunFolder,
    trusted: Sequence[str],
    truth: GroundTruth,
    protocol: str,
) -> None:
    """Refuse callbacks that would not do what they say.

    Args:
        nodes: plain configuration of the callbacks, by name; null switches one off.
        run: whose folder they write into.
        trusted: packages of the user's own.
        truth: of the split that figures are measured on.
        protocol: its kind of figures, see ``DetectionMetric``.

    Raises:
        UserError: naming the first, and what to do instead.
    """
    classes = {}
    for key, node in nodes.items():
        if node is None:
            continue
        if not isinstance(node, dict) or "_target_" not in node:
            raise UserError(f"callbacks.{key}: give a callback, as +callbacks.{key}._target_=...")
        kind = target(node["_target_"], f"callbacks.{key}", trusted)
        if isinstance(kind, type):
            classes[key] = kind
    there = {f"val/{name}" for name in measurable(truth, protocol)}
    for key, kind in classes.items():
        monitor = (nodes[key] or {}).get("monitor")
        # Where there is no box at all, the last weights are the best ones; but nothing says stop.
        waits = there or issubclass(kind, kinds.EarlyStopping)
        if monitor in FIGURES and monitor not in there and waits:
            raise UserError(
                f"callbacks.{key}.monitor={monitor}: the validation split has nothing that this "
                "figure is about; there are",
                choices=sorted(there) or ["none"],
            )
        for name, remedy in REFUSED.items():
            if issubclass(kind, getattr(kinds, name)):
                raise UserError(f"callbacks.{key}: no run can work with {name}: {remedy}")
        if issubclass(kind, kinds.EarlyStopping):
            _check_early_stopping(key, nodes[key])
        if issubclass(kind, kinds.WeightAveraging):
            _check_decay(key, nodes[key].get("decay", 0.0))
    averaging = [key for key, kind in classes.items() if issubclass(kind, kinds.WeightAveraging)]
    if len(averaging) > 1:
        raise UserError(
            f"callbacks.{averaging[1]}: callbacks.{averaging[0]} averages the weights already; "
            f"switch it off by callbacks.{averaging[0]}=null"
        )
    check_checkpoints(nodes, classes, run)


def _check_decay(key: str, decay: object) -> None:
    # Of another kind than a number it is refused where the callback is made.
    if isinstance(decay, int | float) and not 0 <= decay < 1:
        raise UserError(
            f"callbacks.{key}.decay={decay}: is the share of the average that a step keeps; give a "
            "number of at least 0 and below 1, usual is 0.999"
        )


def _check_early_stopping(key: str, options: Mapping[str, Any]) -> None:
    monitor, mode = options.get("monitor"), options.get("mode", "min")
    for name, unit in (("patience", "validations"), ("min_delta", f"what {monitor} must grow by")):
        value = options.get(name, 0)
        if isinstance(value, int | float) and not value >= 0:
            raise UserError(f"callbacks.{key}.{name}={value}: give 0 or more, {unit}")
    if monitor in FIGURES:
        if mode != "max":
            raise UserError(
                f"callbacks.{key}.mode={mode}: {monitor} is better the higher it is, so that this "
                "would stop a run that learns; give max"
            )
    elif isinstance(monitor, str) and not monitor.startswith(_LOGGED):
        raise UserError(
            f"callbacks.{key}.monitor={printable(monitor)}: is not logged; give a loss as "
            "train/loss, or with mode max one of",
            choices=FIGURES,
        )
