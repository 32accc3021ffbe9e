"""A training run: made of a configuration, fitted, reported."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import lightning as L
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.accelerators import CPUAccelerator
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig

from fcos_lightning.checkpoints import Checkpoint
from fcos_lightning.data import DetectionDataModule
from fcos_lightning.data.collate import Collate
from fcos_lightning.detector import DenseDetector
from fcos_lightning.errors import UserError
from fcos_lightning.lightning_internals import LastValidation, signals_left_alone
from fcos_lightning.printing import first_line
from fcos_lightning.runs.description import describe_run
from fcos_lightning.runs.ending import keep_the_end, resuming, trained
from fcos_lightning.runs.instantiate import check_part, make, make_group
from fcos_lightning.runs.kinds import check_settings
from fcos_lightning.runs.opaque import opaque
from fcos_lightning.runs.summary import print_summary
from fcos_lightning.signals import Stopped
from fcos_lightning.storage.run_folder import RunFolder
from fcos_lightning.training.acceleration import accelerate
from fcos_lightning.training.callbacks.figures import Evaluation
from fcos_lightning.training.checkpoint_io import AtomicCheckpointIO
from fcos_lightning.training.cluster import cluster_plugins
from fcos_lightning.training.compiling import TranslationError
from fcos_lightning.training.csv_log import rewind_logs
from fcos_lightning.training.module import FCOSModule
from fcos_lightning.training.moving_positives import MovingPositives
from fcos_lightning.training.other_ranks import LostRank, together
from fcos_lightning.training.resuming import CheckResumed, going_on_from
from fcos_lightning.training.schedule import Schedule


@dataclass
class Session:
    """Everything a run needs that can be wrong, made before a folder exists for it.

    Attributes:
        config: of the run.
        datamodule: its splits are read.
        detector: with fresh or given weights.
        schedule: how long and how fast.
        fresh: keys of the detector that ``init_from`` did not fill.
    """

    config: DictConfig
    datamodule: DetectionDataModule
    detector: DenseDetector
    schedule: Schedule
    fresh: Sequence[str] = ()

    @classmethod
    def prepare(cls, config: DictConfig, resumed: bool) -> Session:
        """Read the data and build the detector.

        Raises:
            UserError: if anything of the configuration, the data or the weights does not fit.
        """
        quiet()
        check_settings(config)
        for key in ("augment", "data", "schedule", "model", "callbacks", "logger", "trainer"):
            check_part(config, key)  # before the data is read, which may take a while
        L.seed_everything(config.seed, workers=True, verbose=False)
        datamodule = make_datamodule(config)
        truth = datamodule.train.truth
        _ = datamodule.val  # a mistake in it should not wait for the end of the first epoch
        if "class_names" in config.data and config.data.class_names is None:
            # Written down in config.yaml.
            config.data.class_names = opaque(truth.class_names)
        schedule = make(config, "schedule")
        if not isinstance(schedule, Schedule):
            raise UserError(f"schedule._target_ gives a {type(schedule).__name__}, not a schedule")
        detector = make(
            config, "model", class_names=truth.class_names, category_ids=truth.category_ids
        )
        if not isinstance(detector, DenseDetector):
            raise UserError(f"model._target_ gives a {type(detector).__name__}, not a detector")
        datamodule.collate = Collate(detector.size_multiple)
        fresh: Sequence[str] = ()
        if config.init_from is not None and not resumed:
            fresh = Checkpoint.read(str(config.init_from)).start(detector)
        return cls(config, datamodule, detector, schedule, fresh)

    def fit(self, trainer: L.Trainer, run: RunFolder, resumed: bool) -> None:
        """Train until the end of the schedule.

        Raises:
            Stopped: if the run was asked to stop; it can go on from its last checkpoint.
            KeyboardInterrupt: if it was interrupted at once.
            UserError: if something that is found only now does not fit.
        """
        config, data = self.config, self.datamodule
        channels_last = accelerate(
            self.detector,
            trainer,
            config.channels_last,
            bool(config.trainer.get("compile")),
            bool(config.get("activation_checkpointing")),
        )
        module = FCOSModule(
            self.detector,
            self.schedule,
            data.batch_size,
            describe_run(config, channels_last),
            int(config.seed),
            _moving_positives(config),
        )
        if trainer.is_global_zero:
            print_summary(config, data, self.detector, self.schedule, trainer, run.path, self.fresh)
        last = run.last if resumed else None
        before: Any = 0
        if last is not None and trainer.is_global_zero:  # who writes the logs
            content = Checkpoint.read(last).run
            before = content.get("global_step")
            rewind_logs(trainer, content)
        began = time.monotonic()
        try:
            with together(trainer), signals_left_alone(trainer), going_on_from(last):
                trainer.fit(module, datamodule=data, ckpt_path=last, weights_only=True)
        except Stopped as stop:
            more = f" after step {trainer.global_step}; go on with: {resuming(run)}"
            raise Stopped(stop.signum, more) from None
        except LostRank as lost:
            if not run.last.is_file():
                raise
            raise LostRank(f"{lost}; go on with: {resuming(run)}") from lost
        except TranslationError as error:
            raise UserError(
                f"trainer.compile=true: torch.compile cannot translate this model here "
                f"({first_line(error)}); on processors it needs a C++ compiler; leave it out"
            ) from error
        except MisconfigurationException as error:
            raise UserError(
                f"Lightning refuses these settings: {' '.join(str(error).split())}"
            ) from error
        keep_the_end(self, trainer, run)
        if trainer.is_global_zero:
            print(trained(trainer, before, (time.monotonic() - began) / 60))

    def make_trainer(self) -> L.Trainer:
        """Make the Trainer with its callbacks and loggers; nothing is written yet.

        Raises:
            UserError: if a setting does not fit, or the devices cannot share a batch.
        """
        callbacks = make_group(self.config, "callbacks", L.Callback)
        if not self.config.trainer.enable_progress_bar:
            callbacks = [one for one in callbacks if not isinstance(one, ProgressBar)]
        data = self.datamodule
        evaluation = Evaluation(data.val.truth, data.protocol)
        # AP must be known before the checkpoint callback asks for it.
        config = self.config.copy()
        if "compile" in config.trainer:
            del config.trainer.compile  # ours, not Lightning's
        trainer = make(
            config,
            "trainer",
            max_epochs=self.config.trainer.max_epochs or self.schedule.max_epochs,
            max_steps=self.config.trainer.max_steps or self.schedule.max_steps or -1,
            callbacks=[CheckResumed(), LastValidation(), evaluation, *callbacks],
            logger=make_group(self.config, "logger", Logger) or False,
            plugins=[AtomicCheckpointIO(), *cluster_plugins()],
            # Without ours Lightning would add its own.
            enable_progress_bar=any(isinstance(one, ProgressBar) for one in callbacks),
            use_distributed_sampler=False,
        )
        if not isinstance(trainer, L.Trainer):
            raise UserError(f"trainer._target_ gives a {type(trainer).__name__}, not a trainer")
        data.share_of_batch(trainer.world_size)
        if self.config.trainer.get("sync_batchnorm") and isinstance(
            trainer.accelerator, CPUAccelerator
        ):
            raise UserError(
                "trainer.sync_batchnorm=true: torch shares BatchNorm statistics between GPUs "
                "only; leave it out here"
            )
        return trainer


def _moving_positives(config: DictConfig) -> MovingPositives | None:
    momentum = config.get("moving_normaliser")  # absent in runs of earlier versions
    return None if momentum is None else MovingPositives(float(momentum))


def make_datamodule(config: DictConfig) -> DetectionDataModule:
    """Make the data module that ``data`` and ``augment`` describe."""
    augmentation = make(config, "augment") if config.get("augment") else None
    datamodule = make(config, "data", augmentation=augmentation, seed=int(config.seed))
    if not isinstance(datamodule, DetectionDataModule):
        raise UserError(f"data._target_ gives a {type(datamodule).__name__}, not a data module")
    return datamodule


def quiet() -> None:
    """Silence remarks of libraries about choices that were made on purpose."""
    # Which devices there are stands in the summary.
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for pattern in (
        ".*does not have many workers.*",
        ".*exists and is not empty.*",  # the run folder: ours
        ".*You are trying to `self.log.*",
        ".*Trying to infer the `batch_size`.*",
        ".*number of training batches .* is smaller than the logging interval.*",
        ".*sampler has shuffling enabled.*",
        ".*compute. method of metric .* was called before.*",
        ".*isinstance.treespec, LeafSpec.*",  # Lightning's own use of torch
        ".*could not find the monitored key.*",  # before the first validation
        ".*your dataloader is not resumable.*",  # ours goes on where it was
    ):
        warnings.filterwarnings("ignore", pattern)
