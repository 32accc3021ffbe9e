"""How a run ends: with a last measurement, the steps it took, and a report."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning as L
from rich.console import Console

from fcos_lightning.checkpoints import Checkpoint
from fcos_lightning.evaluation.detections import DetectionTable
from fcos_lightning.evaluation.output import print_table, write_metrics, write_predictions
from fcos_lightning.printing import LONGEST_LINE, printable
from fcos_lightning.runs.evaluation_settings import evaluation_settings, quicker
from fcos_lightning.runs.ranks import is_first_process
from fcos_lightning.signals import Asked, Stopped
from fcos_lightning.storage.replacing import copy_whole
from fcos_lightning.storage.run_folder import RunFolder
from fcos_lightning.training.acceleration import peak_memory
from fcos_lightning.training.callbacks.figures import Evaluation
from fcos_lightning.training.callbacks.keep_last import KeepLast
from fcos_lightning.training.testing import evaluate

if TYPE_CHECKING:
    from fcos_lightning.runs.session import Session


@contextmanager
def saying_how_to_go_on(run: RunFolder) -> Iterator[None]:
    """Tell who stops a run at once how it goes on, if there is a checkpoint.

    Raises:
        Stopped: in place of what asked.
    """
    try:
        yield
    except Asked as asked:
        if not run.last.is_file():
            raise
        raise Stopped(asked.signum, f"; go on with: {resuming(run)}") from None


def resuming(run: RunFolder) -> str:
    """Return the command that goes on with a run."""
    return f"fcos-train resume={shown_path(run.path)}"


def keep_the_end(session: Session, trainer: L.Trainer, run: RunFolder) -> None:
    """Measure and keep the final weights where the run ended in the middle of an epoch.

    Lightning validates at the end of epochs only, but a schedule in steps seldom ends with one: the
    official 90,000 steps are 12.3 epochs. Whatever this writes, it writes again where a run is
    killed here and goes on.
    """
    callbacks: list[L.Callback] = trainer.callbacks  # type: ignore[attr-defined]  # set by a connector
    evaluation = next(c for c in callbacks if isinstance(c, Evaluation))
    if evaluation.step == trainer.global_step:
        return
    if not any(isinstance(c, KeepLast) and c.file == run.last for c in callbacks):
        trainer.save_checkpoint(run.last)
    summary, _, _ = _evaluate(session, run.last)
    scores = [getattr(c, "best_model_score", None) for c in trainer.checkpoint_callbacks]
    before = max((float(score) for score in scores if score is not None), default=None)
    if trainer.is_global_zero and (before is None or summary["AP"] >= before):
        copy_whole(run.last, run.best)


def _evaluate(session: Session, file: Path) -> tuple[dict[str, Any], DetectionTable, Evaluation]:
    """Measure a checkpoint; the detector, which may be the user's own make, is at hand."""
    Checkpoint.read(file).fill(session.detector)
    settings = evaluation_settings(session.config)
    detector = quicker(session.detector, session.config.trainer.accelerator)
    return evaluate(detector, session.datamodule, settings, progress=False)


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
    more = f" ({steps} with those before)" if before else ""
    took = f"trained {steps - before} steps{more} in {minutes:.1f} minutes"
    return took + (f", with at most {peak}" if peak else "")


def report(session: Session, run: RunFolder) -> dict[str, Any]:
    """Evaluate the best checkpoint; print and write what was reached and what to do next.

    Returns:
        The figures; none if no checkpoint was written.
    """
    if not run.best.is_file():
        print(f"no checkpoint was written; run folder {run.path}")
        return {}
    summary, table, evaluation = _evaluate(session, run.best)
    if not is_first_process():
        return summary
    write_metrics(summary, run.metrics)
    write_predictions(table, session.datamodule.val.truth, run.predictions)
    console = Console()
    print_table(summary, console)
    _say_unreadable(evaluation)
    shown = shown_path(run.path)
    images = shown_path(session.datamodule.val.image_dir)
    console.print(
        f"run folder {shown}: config.yaml, checkpoints, metrics.csv, metrics.json, "
        "predictions.json, previews, tensorboard\n\nnext:\n"
        f"  fcos-test ckpt={shown}/checkpoints/best.ckpt\n"
        f"  fcos-predict ckpt={shown}/checkpoints/best.ckpt source={images} out=predictions\n"
        "  fcos-train experiment=finetune data=voc data.root=DIR  # or data=coco",
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
