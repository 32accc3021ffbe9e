"""How a run ends: with a last measurement, the steps it took, and a report."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import lightning as L
from omegaconf import DictConfig
from rich.console import Console

from fcos_lightning.checkpoints import Checkpoint
from fcos_lightning.data import ShapesDataModule
from fcos_lightning.evaluation.detections import DetectionTable
from fcos_lightning.evaluation.output import print_table, write_metrics, write_predictions
from fcos_lightning.printing import LONGEST_LINE, printable
from fcos_lightning.runs.evaluating.evaluation_settings import (
    evaluation_settings,
    left_out,
    quicker,
)
from fcos_lightning.runs.evaluating.reporting import report_on
from fcos_lightning.runs.next_steps import as_started, next_commands, resume_command
from fcos_lightning.runs.options.checkpoints import best_keeper
from fcos_lightning.runs.ranks import is_first_process
from fcos_lightning.signals import Asked, Stopped
from fcos_lightning.storage.replacing import copy_whole
from fcos_lightning.storage.run_folder import RunFolder
from fcos_lightning.training.acceleration import peak_memory
from fcos_lightning.training.callbacks.figures import Evaluation
from fcos_lightning.training.callbacks.keep_last import KeepLast
from fcos_lightning.training.length import total_steps
from fcos_lightning.training.testing import evaluate

if TYPE_CHECKING:
    from fcos_lightning.runs.session import Session


@contextmanager
def saying_how_to_go_on(config: DictConfig, run: RunFolder) -> Iterator[None]:
    """Tell who stops a run at once how it goes on, if there is a checkpoint.

    Raises:
        Stopped: in place of what asked.
    """
    try:
        yield
    except Asked as asked:
        if not run.last.is_file():
            raise
        raise Stopped(asked.signum, f"; go on with: {resume_command(config, run.path)}") from None


def keep_the_end(session: Session, trainer: L.Trainer, run: RunFolder) -> None:
    """Measure and keep the final weights where the run ended in the middle of an epoch.

    Lightning validates at the end of epochs only, but a schedule in steps seldom ends with one:
    the official 90,000 steps are 12.3 epochs. Whatever this writes, it writes again where a run is
    killed here and goes on.
    """
    callbacks = trainer.callbacks  # type: ignore[attr-defined]  # set in its constructor
    evaluation = next(c for c in callbacks if isinstance(c, Evaluation))
    keeper = best_keeper(callbacks, run)
    summary, figure = evaluation.summary, str(keeper.monitor).removeprefix("val/")
    if evaluation.step != trainer.global_step:
        if not any(isinstance(c, KeepLast) and c.file == run.last for c in callbacks):
            trainer.save_checkpoint(run.last)
        limit = {"limit_val_batches": trainer.limit_val_batches or None}
        summary, _, _ = _evaluate(session, run.last, limit)
    elif run.best.is_file() and summary.get(figure) is not None:
        return
    # Of a split without a box nothing is better or worse; then the last weights are kept.
    score, now = keeper.best_model_score, summary.get(figure)
    before = float(score) if score is not None and score.isfinite() else None
    better = before is None or (now is not None and now >= before)
    if trainer.is_global_zero and better:
        copy_whole(run.last, run.best)


def _evaluate(
    session: Session,
    file: Path,
    limit: Mapping[str, Any] | None = None,
    split: Literal["val", "test"] = "val",
) -> tuple[dict[str, Any], DetectionTable, Evaluation]:
    """Measure a checkpoint; the detector, which may be the user's own make, is at hand."""
    Checkpoint.read(file).fill(session.detector)
    settings = evaluation_settings(session.config) | dict(limit or {})
    detector = quicker(session.detector, session.config.trainer.accelerator)
    shown = bool(session.config.trainer.get("enable_progress_bar", True)) and sys.stdout.isatty()
    return evaluate(detector, session.datamodule, settings, progress=shown, split=split)


def trained(trainer: L.Trainer, before: int, minutes: float) -> str:
    """Say how far a run has come, and how much of that was now.

    Args:
        trainer: of the run, which has come to its end.
        before: steps that the run had when it went on.
        minutes: it took.
    """
    steps = trainer.global_step
    if steps == before:
        return f"nothing was left to train: all {steps} steps were done before"
    peak = peak_memory(trainer)
    total = total_steps(trainer)
    of = f" of {total}" if steps < total else ""  # stopped by a callback
    more = f" ({steps}{of} with those before)" if before else of
    took = f"trained {steps - before}{more} steps in {minutes:.1f} minutes"
    return took + (f", with at most {peak}" if peak else "")


def report(session: Session, run: RunFolder) -> dict[str, Any]:
    """Evaluate the best checkpoint; print and write what was reached and what to do next.

    Returns:
        The figures; none if no checkpoint was written.
    """
    if not run.best.is_file():
        print(f"no checkpoint was written; run folder {run.path}")
        return {}
    data, console = session.datamodule, Console()
    summary, table, evaluation = _evaluate(session, run.best)
    test = data.test
    # Only now, and once: nothing was chosen by these images.
    tested = None if test is None else _evaluate(session, run.best, split="test")
    if not is_first_process():
        return summary
    print_table(summary, console, data.val.name, left_out(data.val))
    _say_unreadable(evaluation)
    if test is not None and tested is not None:
        print_table(tested[0], console, test.name, left_out(test))
        _say_unreadable(tested[2])
        write_predictions(tested[1], test.truth, run.test_predictions)
        write_metrics(tested[0], run.test_metrics)
    write_predictions(table, data.val.truth, run.predictions)
    pages = []
    if session.config.get("report", True):  # absent in runs of earlier versions
        pages = report_on(run.best, run, data, session.detector, table, summary)
    write_metrics(summary, run.metrics)  # last: with them the run is finished
    extra = (run.split, run.test_metrics, run.test_predictions)
    files = (*("metrics.json", "predictions.json"), *(e.name for e in extra if e.is_file()))
    images = data.val.image_dir if data.val.elsewhere is None else None
    commands = next_commands(session.config, run, images)
    if isinstance(data, ShapesDataModule):  # who has trained on a set of their own knows how
        own = "experiment=finetune data.root=DIR  # a data set of your own"
        commands.append(f"{shlex.quote(as_started('fcos-train'))} {own}")
    console.print(
        f"run folder {shown_path(run.path)}: config.yaml, checkpoints, metrics.csv, "
        f"{', '.join((*files, *pages))}, previews, tensorboard\n\nnext:\n"
        + "\n".join(f"  {command}" for command in commands),
        soft_wrap=True,
        highlight=False,
        markup=False,
    )
    return summary


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
