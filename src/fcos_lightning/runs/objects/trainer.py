"""The Trainer of a run: Lightning's, with what a run cannot do without."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
from lightning.fabric.plugins import ClusterEnvironment
from lightning.pytorch.accelerators import CPUAccelerator
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.loggers import Logger
from lightning.pytorch.plugins import CheckpointIO
from lightning.pytorch.profilers import (
    AdvancedProfiler,
    PassThroughProfiler,
    Profiler,
    PyTorchProfiler,
    SimpleProfiler,
)
from omegaconf import DictConfig, open_dict

from fcos_lightning.data import DetectionDataModule
from fcos_lightning.errors import UserError
from fcos_lightning.lightning_internals import LastValidation
from fcos_lightning.runs.objects.instantiate import check_part, make, make_group, trusted_packages
from fcos_lightning.runs.options.callbacks import check_callbacks
from fcos_lightning.runs.options.trainer import OURS
from fcos_lightning.storage.run_folder import RunFolder
from fcos_lightning.training.callbacks.figures import Evaluation
from fcos_lightning.training.checkpoint_io import AtomicCheckpointIO
from fcos_lightning.training.ranks.cluster import cluster_plugins
from fcos_lightning.training.resuming import CheckResumed
from fcos_lightning.training.schedule import Schedule

_PROFILERS: dict[str, type[Profiler]] = {
    "simple": SimpleProfiler,
    "advanced": AdvancedProfiler,
    "pytorch": PyTorchProfiler,
}
_PROFILE = "profile"


def make_trainer(config: DictConfig, data: DetectionDataModule, schedule: Schedule) -> L.Trainer:
    """Make the Trainer with its callbacks and loggers; nothing is written yet.

    Raises:
        UserError: if a setting does not fit, or the devices cannot share a batch.
    """
    run = RunFolder(Path(config.run_dir))
    nodes = check_part(config, "callbacks") or {}
    check_callbacks(nodes, run, trusted_packages(), data.val.truth, data.protocol)
    callbacks = make_group(config, "callbacks", L.Callback)
    if not config.trainer.enable_progress_bar:
        callbacks = [one for one in callbacks if not isinstance(one, ProgressBar)]
    evaluation = Evaluation(data.val.truth, data.protocol)
    plugins = _plugins(config)
    own: dict[str, Any] = (
        {"profiler": _profiler(config, run)} if config.trainer.get("profiler") else {}
    )
    lightnings = config.copy()
    with open_dict(lightnings):
        for key in (*OURS, "plugins", "profiler"):
            lightnings.trainer.pop(key, None)
    trainer = make(
        lightnings,
        "trainer",
        max_epochs=config.trainer.max_epochs or schedule.max_epochs,
        max_steps=config.trainer.max_steps or schedule.max_steps or -1,
        # AP must be known before the checkpoint callback asks for it.
        callbacks=[CheckResumed(), LastValidation(), evaluation, *callbacks],
        logger=make_group(config, "logger", Logger) or False,
        plugins=plugins,
        # Without ours Lightning would add its own.
        enable_progress_bar=any(isinstance(one, ProgressBar) for one in callbacks),
        use_distributed_sampler=False,
        **own,
    )
    if not isinstance(trainer, L.Trainer):
        raise UserError(f"trainer._target_ gives a {type(trainer).__name__}, not a trainer")
    data.share_of_batch(trainer.world_size)
    if config.trainer.get("sync_batchnorm") and isinstance(trainer.accelerator, CPUAccelerator):
        raise UserError(
            "trainer.sync_batchnorm=true: torch shares BatchNorm statistics between GPUs only; "
            "leave it out here"
        )
    return trainer


def profiles(trainer: L.Trainer, run: RunFolder) -> list[str]:
    """Return the names of the files in the run folder that a profiler has written."""
    if isinstance(trainer.profiler, PassThroughProfiler):  # type: ignore[attr-defined]  # set by Lightning
        return []
    return sorted(file.name for file in run.path.glob(f"*{_PROFILE}*") if file.is_file())


def _profiler(config: DictConfig, run: RunFolder) -> Profiler:
    """Make the profiler; what it finds goes to the run folder, where nothing else is said."""
    made: Any = make(config.trainer, "profiler")
    if isinstance(made, str):
        if made not in _PROFILERS:
            raise UserError(f"trainer.profiler={made}: give {', '.join(_PROFILERS)}")
        return _PROFILERS[made](dirpath=run.path, filename=_PROFILE)
    if not isinstance(made, Profiler):
        raise UserError(f"trainer.profiler: gives a {type(made).__name__}, not a profiler")
    if made.dirpath is None and made.filename is None:
        made.dirpath, made.filename = run.path, _PROFILE
    return made


def _plugins(config: DictConfig) -> list[Any]:
    """Return our plugins and those of the configuration, such as a precision of one's own."""
    given: Any = make(config.trainer, "plugins") if config.trainer.get("plugins") else []
    given = list(given) if isinstance(given, list) else [given]
    if any(isinstance(one, CheckpointIO) for one in given):
        raise UserError(
            "trainer.plugins: a run writes its checkpoints itself, each whole or not at all; leave "
            "the CheckpointIO out"
        )
    cluster = [] if any(isinstance(one, ClusterEnvironment) for one in given) else cluster_plugins()
    return [AtomicCheckpointIO(), *cluster, *given]
