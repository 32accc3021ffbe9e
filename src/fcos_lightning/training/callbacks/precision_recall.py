"""Curves of precision against recall for TensorBoard and Weights & Biases."""

from __future__ import annotations

import io

import lightning as L
import numpy as np
from lightning.pytorch.loggers import TensorBoardLogger
from PIL import Image

from fcos_lightning.evaluation.analysis.curves import counts_at, precision_recall
from fcos_lightning.evaluation.coco_arrays import RECALLS
from fcos_lightning.evaluation.matches import Matches, matched
from fcos_lightning.training.callbacks.figures import Evaluation
from fcos_lightning.training.loggers.pictures import show_picture

#: So many thresholds TensorBoard asks for.
_THRESHOLDS = np.linspace(0.0, 1.0, 127)
#: More curves cannot be told apart: those of the classes with the most objects are drawn.
_CLASSES = 8


class PrecisionRecall(L.Callback):
    """Shows precision against recall at IoU .5 after each validation, beside the figures.

    TensorBoard gets a curve that follows the threshold, of all classes together; loggers that take
    pictures get one of the mean over the classes and of the largest of them.
    """

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Give the curves to the loggers; called by Lightning."""
        evaluation = next(
            (c for c in trainer.callbacks if isinstance(c, Evaluation)),  # type: ignore[attr-defined]  # set in its constructor
            None,
        )
        takers = [
            one
            for one in trainer.loggers
            if isinstance(one, TensorBoardLogger) or hasattr(one, "log_image")
        ]
        if evaluation is None or not takers or not trainer.is_global_zero:
            return
        # Of images that were passed over nobody knows what would have been found.
        if trainer.sanity_checking or "images_seen" in evaluation.summary:
            return
        matches = matched(evaluation.metric.truth, evaluation.metric.table)
        if not matches.objects_of(None):
            return
        for logger in takers:
            if isinstance(logger, TensorBoardLogger):
                _tell_tensorboard(logger, matches, trainer.global_step)
        show_picture(trainer, "precision_recall", drawn_curves(matches))


def _tell_tensorboard(logger: TensorBoardLogger, matches: Matches, step: int) -> None:
    counts = counts_at(matches, _THRESHOLDS, None)
    logger.experiment.add_pr_curve_raw(
        "val/precision_recall",
        true_positive_counts=counts.right,
        false_positive_counts=counts.wrong,
        true_negative_counts=np.zeros_like(counts.right),  # of which a detector has no number
        false_negative_counts=counts.objects - counts.right,
        precision=counts.precision,
        recall=counts.recall,
        global_step=step,
        num_thresholds=len(_THRESHOLDS),
    )


def drawn_curves(matches: Matches) -> Image.Image:
    """Draw precision against recall: the mean over the classes, and the largest classes.

    Args:
        matches: of a data set with an object.
    """
    from matplotlib.figure import Figure

    from fcos_lightning.inference.pictures.fonts import spelt_for_dejavu
    from fcos_lightning.printing import class_label

    names = matches.truth.class_names
    curves = {label: precision_recall(matches, label) for label in range(len(names))}
    known = {label: curve for label, curve in curves.items() if curve is not None}
    largest = sorted(known, key=lambda label: (-matches.objects_of(label), label))[:_CLASSES]
    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    axes = figure.subplots()
    for label in largest if len(known) > 1 else ():
        # A name that matplotlib would take for a formula, or for none to show, is still a name.
        text = spelt_for_dejavu(class_label(names[label])).replace("$", r"\$")
        axes.plot(RECALLS, known[label], linewidth=1, label=f"\u200b{text}")
    mean = np.mean(list(known.values()), axis=0)
    axes.plot(RECALLS, mean, color="black", linewidth=2, label=f"mean (AP50 {mean.mean():.3f})")
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="recall", ylabel="precision, IoU .5")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=110)
    return Image.open(file).convert("RGB")
