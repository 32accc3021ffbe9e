"""Lightning's Trainer: which of its options do what they say in a run, and which are refused.

Every option stands in one of the tables here; a test compares them with Lightning's own signature,
so that an option of a newer version is looked at before it is let through.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from omegaconf import DictConfig

from fcos_lightning.errors import UserError
from fcos_lightning.printing import printable
from fcos_lightning.processors import processor_count

#: To try out what several devices do, on however small a machine.
_FEW_PROCESSES = 8
#: Options of ``trainer`` that are ours, not Lightning's.
OURS = ("compile",)


def _works(value: object) -> str | None:
    return None


def _refused(remedy: str, *harmless: object) -> Callable[[object], str | None]:
    """Refuse every value but Lightning's own default, and those that ask for nothing."""

    def judge(value: object) -> str | None:
        asks = not any(value == one and type(value) is type(one) for one in (*harmless, None))
        return remedy if asks else None

    return judge


def _at_least(least: int, remedy: str) -> Callable[[object], str | None]:
    def judge(value: object) -> str | None:
        if isinstance(value, bool) or not isinstance(value, int | float) or value >= least:
            return None
        return remedy

    return judge


def _share(value: object) -> str | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or value > 0:
        return None
    return "give a number of batches above 0, or a share of them above 0.0; null for all"


def _limit(value: object) -> str | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or value >= 0:
        return None
    return "give a number of batches, or a share of them as 0.5; 0 for no validation, null for all"


def _interval(value: object) -> str | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        return "give a share of an epoch as 0.5, or a number of batches"
    return _share(value)


def _strategy(value: object) -> str | None:
    named = value.get("_target_") if isinstance(value, Mapping) else value
    name = str(named).rpartition(".")[2].lower().replace("_", "")
    if any(word in name for word in ("fsdp", "deepspeed", "modelparallel", "xla")):
        return (
            "a run's checkpoints hold the whole detector, and this one shares it out; give auto "
            "or ddp"
        )
    if any(word in name for word in ("fork", "spawn", "notebook")):
        return "a run starts its processes as commands of their own; give auto or ddp"
    return None


def _profiler(value: object) -> str | None:
    return "give simple, advanced or pytorch" if value == "xla" else None


_WHOLE, _MIXED = ("32-true", "32"), ("bf16-mixed", "16-mixed", "bf16", "16")


def _precision(value: object) -> str | None:
    if isinstance(value, str) and "transformer-engine" in value:
        return "a detector has no layers for it; give 16-mixed or bf16-mixed"
    if str(value) in (*_WHOLE, *_MIXED, "None"):
        return None
    return f"boxes and losses keep 32 bit; give {_WHOLE[0]}, {_MIXED[0]} or {_MIXED[1]}"


_FEW = (
    "a run has no such mode; for a quick look give trainer.max_steps=2 trainer.limit_val_batches=2"
)

#: What is said to a value that is refused, by option; None where the value works.
TRAINER: Mapping[str, Callable[[object], str | None]] = {
    "accelerator": _works,
    "strategy": _strategy,
    "devices": _works,
    "num_nodes": _works,
    "precision": _precision,
    "logger": _refused("loggers have a group of their own: +logger.NAME._target_=...", True),
    "callbacks": _refused("callbacks have a group of their own: +callbacks.NAME._target_=..."),
    "fast_dev_run": _refused(_FEW, False, 0),
    "max_epochs": _at_least(1, "give at least 1, or null for the schedule's length"),
    "min_epochs": _works,
    "max_steps": _at_least(1, "give at least 1, or null for the schedule's length"),
    "min_steps": _works,
    "max_time": _works,
    "limit_train_batches": _share,
    "limit_val_batches": _limit,
    "limit_test_batches": _refused(
        "a run measures on the validation split only: trainer.limit_val_batches", 1.0
    ),
    "limit_predict_batches": _refused("a run predicts on no images of its own", 1.0),
    "overfit_batches": _refused(
        "a run draws its batches anew in every epoch; to learn few images by heart, give them a "
        "split of their own as data.train_split and data.val_split, with augment=none",
        0,
        0.0,
    ),
    "val_check_interval": _interval,
    "check_val_every_n_epoch": _at_least(1, "give at least 1, or null to count across epochs"),
    "num_sanity_val_steps": _works,
    "log_every_n_steps": _at_least(0, "give at least 1, or 0 for never"),
    "enable_checkpointing": _refused(
        "a run is its checkpoints: without them nothing would be left of it", True
    ),
    "enable_progress_bar": _works,
    "enable_model_summary": _works,
    "accumulate_grad_batches": _at_least(1, "give at least 1"),
    "gradient_clip_val": _at_least(0, "give a number above 0, or null"),
    "gradient_clip_algorithm": _works,
    "deterministic": _works,
    "benchmark": _works,
    "inference_mode": _works,
    "use_distributed_sampler": _refused(
        "the batches are shared out by our own sampler, each image once", False
    ),
    "profiler": _profiler,
    "detect_anomaly": _works,
    "barebones": _refused("it runs without checkpoints and figures, and a run needs both", False),
    "plugins": _works,
    "sync_batchnorm": _works,
    "reload_dataloaders_every_n_epochs": _refused(
        "the data set is read once; its batches are drawn anew in every epoch anyway", 0
    ),
    "default_root_dir": _works,
    "enable_autolog_hparams": _works,
    "model_registry": _refused("checkpoints stay in the run folder; a logger may take them on"),
}


def check_trainer(options: Mapping[str, Any], schedule: Mapping[str, Any] | None = None) -> None:
    """Refuse options of the Trainer that would not do what they say.

    Args:
        options: plain values, as the configuration has them.
        schedule: likewise.

    Raises:
        UserError: naming the first.
    """
    for name, judge in TRAINER.items():
        if name in options and (remedy := judge(options[name])) is not None:
            raise UserError(f"trainer.{name}={printable(options[name])}: {remedy}")
    if clips_fused(options, schedule or {}):
        raise UserError(
            f"trainer.precision={options['precision']}: in mixed precision Lightning clips no "
            "gradients of a fused optimiser; add schedule.optimizer.fused=false, or "
            "trainer.gradient_clip_val=null"
        )
    _check_processes(options)


def _check_processes(options: Mapping[str, Any]) -> None:
    """Refuse more processes on a processor than it could hold: each has a copy of everything."""
    devices, accelerator = str(options.get("devices")), options.get("accelerator", "auto")
    if not devices.isascii() or not devices.isdigit():
        return
    most = max(_FEW_PROCESSES, processor_count())
    if int(devices) <= most or accelerator not in ("cpu", "auto"):
        return

    if accelerator == "cpu" or torch.accelerator.current_accelerator() is None:
        raise UserError(
            f"trainer.devices={devices}: without a GPU each is a process of its own, and this "
            f"machine has {processor_count()} processors; give at most {most}"
        )


def clips_fused(options: Mapping[str, Any], schedule: Mapping[str, Any]) -> bool:
    """Tell whether gradients of a fused optimiser would be clipped in mixed precision."""
    optimizer = schedule.get("optimizer")
    fused = isinstance(optimizer, Mapping | DictConfig) and optimizer.get("fused")
    mixed = str(options.get("precision")) in _MIXED
    return bool(fused and options.get("gradient_clip_val") and mixed)
