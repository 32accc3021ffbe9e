"""A training run: made of a configuration, fitted, reported."""

from __future__ import annotations

import logging
import time
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightning as L
from omegaconf import DictConfig

from fcos_lightning.checkpoints import Checkpoint
from fcos_lightning.checkpoints.starting import Started
from fcos_lightning.data import DetectionDataModule
from fcos_lightning.data.batches.collate import Collate
from fcos_lightning.detector import DenseDetector
from fcos_lightning.errors import UserError
from fcos_lightning.lightning_internals import signals_left_alone
from fcos_lightning.printing import first_line
from fcos_lightning.runs.config.description import describe_run
from fcos_lightning.runs.config.hyperparameters import log_configuration
from fcos_lightning.runs.config.kinds import check_settings
from fcos_lightning.runs.config.opaque import opaque, opaque_text
from fcos_lightning.runs.ending import keep_the_end, shown_path, trained
from fcos_lightning.runs.next_steps import resume_command
from fcos_lightning.runs.objects.detectors import write_out_model
from fcos_lightning.runs.objects.instantiate import check_part, make
from fcos_lightning.runs.objects.trainer import make_trainer, profiles
from fcos_lightning.runs.options.trainer import check_trainer
from fcos_lightning.runs.same_data import KEY as DIGESTS
from fcos_lightning.runs.same_data import check_same_data, digests
from fcos_lightning.runs.summary import print_summary
from fcos_lightning.signals import Stopped
from fcos_lightning.storage.run_folder import RunFolder
from fcos_lightning.training.acceleration import accelerate
from fcos_lightning.training.compiling import TranslationError
from fcos_lightning.training.loggers.csv_log import rewind_logs
from fcos_lightning.training.loggers.writer_threads import writers_fail_once
from fcos_lightning.training.module import FCOSModule
from fcos_lightning.training.moving_positives import MovingPositives
from fcos_lightning.training.ranks.other_ranks import LostRank, together
from fcos_lightning.training.resuming import going_on_from
from fcos_lightning.training.schedule import Schedule


@dataclass
class Session:
    """Everything a run needs that can be wrong, made before a folder exists for it.

    Attributes:
        config: of the run.
        datamodule: its splits are read.
        detector: with fresh or given weights.
        schedule: how long and how fast.
        started: what it took over from ``init_from``.
        trainer: once there is one.
    """

    config: DictConfig
    datamodule: DetectionDataModule
    detector: DenseDetector
    schedule: Schedule
    started: Started = field(default_factory=Started)
    trainer: L.Trainer | None = None

    def has_learnt(self) -> bool:
        """Tell whether the run has taken a step."""
        return self.trainer is not None and self.trainer.global_step > 0

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
        check_trainer(check_part(config, "trainer"), check_part(config, "schedule"))
        L.seed_everything(config.seed, workers=True, verbose=False)
        datamodule = make_datamodule(config)
        if resumed:
            datamodule.use_split(RunFolder(Path(str(config.run_dir))).split)
        truth = datamodule.train.truth
        if not (~truth.ignored).any() and not resumed:
            raise UserError(
                f"{datamodule.train.name}: not one box to learn from; see that data.root and the "
                "training split are those that you mean, and that their annotations hold boxes"
            )
        # A mistake in these should not wait for the end of the first epoch, or of the last.
        _ = datamodule.val, datamodule.test
        if resumed:
            run = RunFolder(Path(config.run_dir))
            check_same_data(run.path, Checkpoint.read(run.last).about, datamodule)
        for key in ("train_split", "val_split", "test_split", "shuffle_window"):
            if key in config.data:  # as they were found; written down in config.yaml
                config.data[key] = opaque(getattr(datamodule, key))
        if "class_names" in config.data and config.data.class_names is None:
            # Written down in config.yaml.
            config.data.class_names = opaque(truth.class_names)
        root = config.data.get("root")
        if isinstance(root, str) and root and Path(root).exists():
            # The run may be gone on with, and its checkpoint be tested, from another folder.
            config.data.root = opaque_text(str(Path(root).absolute()))
        schedule = make(config, "schedule")
        if not isinstance(schedule, Schedule):
            raise UserError(f"schedule._target_ gives a {type(schedule).__name__}, not a schedule")
        detector = make(
            config, "model", class_names=truth.class_names, category_ids=truth.category_ids
        )
        if not isinstance(detector, DenseDetector):
            raise UserError(f"model._target_ gives a {type(detector).__name__}, not a detector")
        write_out_model(config, detector)
        datamodule.collate = Collate(detector.size_multiple, detector.pad_beyond)
        started = Started()
        if config.init_from is not None and not resumed:
            started = Checkpoint.read(str(config.init_from)).start(detector)
        return cls(config, datamodule, detector, schedule, started)

    @writers_fail_once()
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
            describe_run(config, channels_last) | {DIGESTS: digests(data)},
            int(config.seed),
            _moving_positives(config),
        )
        if trainer.is_global_zero:
            if not resumed:
                data.write_split(run.split)
            made = (self.detector, self.schedule, trainer, run.path, self.started)
            print_summary(config, data, *made, resumed)
        last = run.last if resumed else None
        before: Any = 0
        if last is not None and trainer.is_global_zero:  # who writes the logs
            content = Checkpoint.read(last).run
            before = content.get("global_step")
            rewind_logs(trainer, content)
        if config.trainer.get("enable_autolog_hparams", True) and trainer.is_global_zero:
            log_configuration(trainer, config)
        began = time.monotonic()
        try:
            with together(trainer), signals_left_alone(trainer), going_on_from(last):
                trainer.fit(module, datamodule=data, ckpt_path=last, weights_only=True)
        except Stopped as stop:
            again = resume_command(config, run.path)
            more = f" after step {trainer.global_step}; go on with: {again}"
            raise Stopped(stop.signum, more) from None
        except LostRank as lost:
            if not run.last.is_file():
                raise
            raise LostRank(f"{lost}; go on with: {resume_command(config, run.path)}") from lost
        except TranslationError as error:
            raise UserError(
                f"trainer.compile=true: torch.compile cannot translate this model here "
                f"({first_line(error)}); on processors it needs a C++ compiler; leave it out"
            ) from error
        keep_the_end(self, trainer, run)
        if trainer.is_global_zero:
            print(trained(trainer, before, (time.monotonic() - began) / 60))
            for name in profiles(trainer, run):
                print(f"profile: {shown_path(run.path)}/{name}")

    def make_trainer(self) -> L.Trainer:
        """Make the Trainer, see there; nothing is written yet."""
        self.trainer = make_trainer(self.config, self.datamodule, self.schedule)
        return self.trainer


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
    # These speak only where a setting asks them to.
    for name in ("model_summary", "early_stopping"):
        logging.getLogger(f"lightning.pytorch.callbacks.{name}").setLevel(logging.INFO)
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
        ".*DataLoader will create .* worker processes.*",  # as was asked for
    ):
        warnings.filterwarnings("ignore", pattern)
