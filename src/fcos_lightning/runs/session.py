"""A training run: made of a configuration, fitted, reported."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import lightning as L
from omegaconf import DictConfig
from rich.console import Console

from fcos_lightning.checkpoints import Checkpoint
from fcos_lightning.checkpoints.starting import Started
from fcos_lightning.data import DetectionDataModule
from fcos_lightning.data.batches.collate import Collate
from fcos_lightning.detector import DenseDetector
from fcos_lightning.errors import UserError
from fcos_lightning.evaluation.detections import DetectionTable
from fcos_lightning.evaluation.output import print_table, write_metrics, write_predictions
from fcos_lightning.printing import LONGEST_LINE, first_line, printable
from fcos_lightning.runs.description import describe_run
from fcos_lightning.runs.evaluation_settings import evaluation_settings, left_out, quicker
from fcos_lightning.runs.hyperparameters import log_configuration
from fcos_lightning.runs.instantiate import check_part, make
from fcos_lightning.runs.kinds import check_settings
from fcos_lightning.runs.next_steps import next_commands, resume_command
from fcos_lightning.runs.opaque import opaque, opaque_text
from fcos_lightning.runs.options.checkpoints import best_keeper
from fcos_lightning.runs.options.trainer import check_trainer
from fcos_lightning.runs.ranks import is_first_process
from fcos_lightning.runs.reporting import report_on
from fcos_lightning.runs.same_data import KEY as DIGESTS
from fcos_lightning.runs.same_data import check_same_data, digests
from fcos_lightning.runs.summary import print_summary
from fcos_lightning.runs.trainer import make_trainer, profiles
from fcos_lightning.signals import Stopped
from fcos_lightning.storage.replacing import copy_whole
from fcos_lightning.storage.run_folder import RunFolder
from fcos_lightning.training.acceleration import accelerate, peak_memory
from fcos_lightning.training.callbacks.figures import Evaluation
from fcos_lightning.training.compiling import TranslationError
from fcos_lightning.training.csv_log import rewind_logs
from fcos_lightning.training.length import total_steps
from fcos_lightning.training.module import FCOSModule
from fcos_lightning.training.moving_positives import MovingPositives
from fcos_lightning.training.resuming import going_on_from
from fcos_lightning.training.schedule import Schedule
from fcos_lightning.training.testing import evaluate


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
        # A mistake in these should not wait for the end of the first epoch, or of the last.
        _ = datamodule.val, datamodule.test
        if resumed:
            run = RunFolder(Path(config.run_dir))
            check_same_data(run.path, Checkpoint.read(run.last).about, datamodule)
        for key in ("train_split", "val_split", "test_split"):
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
        datamodule.collate = Collate(detector.size_multiple, detector.pad_beyond)
        started = Started()
        if config.init_from is not None and not resumed:
            started = Checkpoint.read(str(config.init_from)).start(detector)
        return cls(config, datamodule, detector, schedule, started)

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
            print_summary(
                config, data, self.detector, self.schedule, trainer, run.path, self.started
            )
        last = run.last if resumed else None
        if last is not None and trainer.is_global_zero:  # who writes the logs
            rewind_logs(trainer, Checkpoint.read(last).run)
        if config.trainer.get("enable_autolog_hparams", True) and trainer.is_global_zero:
            log_configuration(trainer, config)
        began = time.monotonic()
        try:
            with going_on_from(last):
                trainer.fit(module, datamodule=data, ckpt_path=last, weights_only=True)
        except Stopped as stop:
            again = resume_command(config, run.path)
            more = f" after step {trainer.global_step}; go on with: {again}"
            raise Stopped(stop.signum, more) from None
        except TranslationError as error:
            raise UserError(
                f"trainer.compile=true: torch.compile cannot translate this model here "
                f"({first_line(error)}); on processors it needs a C++ compiler; leave it out"
            ) from error
        if trainer.interrupted:
            raise KeyboardInterrupt
        self._keep_the_end(trainer, run)
        if trainer.is_global_zero:
            minutes = (time.monotonic() - began) / 60
            peak = peak_memory(trainer)
            total = total_steps(trainer)
            of = f" of {total}" if trainer.global_step < total else ""  # stopped by a callback
            print(
                f"trained {trainer.global_step}{of} steps in {minutes:.1f} minutes"
                + (f", with at most {peak}" if peak else "")
            )
            for name in profiles(trainer, run):
                print(f"profile: {shown_path(run.path)}/{name}")

    def _keep_the_end(self, trainer: L.Trainer, run: RunFolder) -> None:
        """Measure and keep the final weights where the run ended in the middle of an epoch.

        Lightning validates and saves at the end of epochs only, but a schedule in steps seldom
        ends with one: the official 90,000 steps are 12.3 epochs.
        """
        callbacks = trainer.callbacks  # type: ignore[attr-defined]  # set in its constructor
        evaluation = next(c for c in callbacks if isinstance(c, Evaluation))
        keeper = best_keeper(callbacks, run)
        summary, figure = evaluation.summary, str(keeper.monitor).removeprefix("val/")
        if evaluation.step != trainer.global_step:
            trainer.save_checkpoint(run.last)
            limit = {"limit_val_batches": trainer.limit_val_batches or None}
            summary, _, _ = self._evaluate(run.last, limit)
        elif run.best.is_file() and summary.get(figure) is not None:
            return
        # Of a split without a box nothing is better or worse; then the last weights are kept.
        score, now = keeper.best_model_score, summary.get(figure)
        before = float(score) if score is not None and score.isfinite() else None
        better = before is None or (now is not None and now >= before)
        if trainer.is_global_zero and better:
            copy_whole(run.last, run.best)

    def _evaluate(
        self,
        file: Path,
        limit: Mapping[str, Any] | None = None,
        split: Literal["val", "test"] = "val",
    ) -> tuple[dict[str, Any], DetectionTable, Evaluation]:
        """Measure a checkpoint; the detector, which may be the user's own make, is at hand."""
        Checkpoint.read(file).fill(self.detector)
        settings = evaluation_settings(self.config) | dict(limit or {})
        detector = quicker(self.detector, self.config.trainer.accelerator)
        return evaluate(detector, self.datamodule, settings, progress=False, split=split)

    def make_trainer(self) -> L.Trainer:
        """Make the Trainer, see there; nothing is written yet."""
        self.trainer = make_trainer(self.config, self.datamodule, self.schedule)
        return self.trainer

    def report(self, run: RunFolder) -> dict[str, Any]:
        """Evaluate the best checkpoint; print and write what was reached and what to do next.

        Returns:
            The figures; none if no checkpoint was written.
        """
        if not run.best.is_file():
            print(f"no checkpoint was written; run folder {run.path}")
            return {}
        data, console = self.datamodule, Console()
        summary, table, evaluation = self._evaluate(run.best)
        test = data.test
        # Only now, and once: nothing was chosen by these images.
        tested = None if test is None else self._evaluate(run.best, split="test")
        if not is_first_process():
            return summary
        print_table(summary, console, data.val.name, left_out(data.val))
        _say_unreadable(evaluation)
        if test is not None and tested is not None:
            print_table(tested[0], console, test.name, left_out(test))
            _say_unreadable(tested[2])
            write_metrics(tested[0], run.test_metrics)
            write_predictions(tested[1], test.truth, run.test_predictions)
        write_predictions(table, data.val.truth, run.predictions)
        write_metrics(summary, run.metrics)
        pages = []
        if self.config.get("report", True):  # absent in runs of earlier versions
            pages = report_on(run.best, run, data, self.detector, table, summary)
        extra = (run.split, run.test_metrics, run.test_predictions)
        files = (*("metrics.json", "predictions.json"), *(e.name for e in extra if e.is_file()))
        commands = next_commands(self.config, run, data.val.image_dir)
        console.print(
            f"run folder {shown_path(run.path)}: config.yaml, checkpoints, metrics.csv, "
            f"{', '.join((*files, *pages))}, previews, tensorboard\n\nnext:\n"
            + "".join(f"  {command}\n" for command in commands)
            + "  fcos-train experiment=finetune data.root=DIR  # a data set of your own",
            soft_wrap=True,
            highlight=False,
            markup=False,
        )
        return summary


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
    ):
        warnings.filterwarnings("ignore", pattern)


def _say_unreadable(evaluation: Evaluation) -> None:
    if evaluation.unreadable:
        print(
            f"{len(evaluation.unreadable)} images could not be read and count as without "
            f"detections: {printable(min(evaluation.unreadable))}, ..."
        )


def shown_path(path: Path) -> str:
    """Show a path relative to the current folder where that is shorter."""
    try:
        return printable(path.relative_to(Path.cwd()), LONGEST_LINE)
    except ValueError:
        return printable(path, LONGEST_LINE)
