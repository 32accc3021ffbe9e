"""``fcos-test``: AP of a checkpoint."""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING

from fcos_lightning.errors import UserError
from fcos_lightning.printing import LONGEST_LINE, printable
from fcos_lightning.runs.ranks import is_first_process
from fcos_lightning.signals import stopped_in_one_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from omegaconf import DictConfig

    from fcos_lightning.checkpoints import Checkpoint


def main() -> None:
    """Entry point of the command."""
    with stopped_in_one_line(is_first_process):
        run_with_data_of_checkpoint(test, "test")


def run_with_data_of_checkpoint(task: Callable[[DictConfig], None], config_name: str) -> None:
    """Run a task whose data are those of ``ckpt=`` where the command line gives no others."""
    from fcos_lightning.cli.app import fail, fail_if_refused, run
    from fcos_lightning.data.stores.addresses import clean
    from fcos_lightning.runs.config.words import text_of

    # The data of a checkpoint has to be among the choices before Hydra composes them, so that
    # overrides as data.root= apply to it. The other processes of a run on several devices are
    # started with this one's words.
    given = {word.partition("=")[0]: text_of(word) for word in sys.argv[1:] if "=" in word}
    spelt_out = any(word.startswith(("+data=", "++data=")) for word in sys.argv[1:])
    if (
        "ckpt" in given
        and not spelt_out
        and given.get("data", "from_checkpoint") == "from_checkpoint"
    ):
        from fcos_lightning.inference.engines.engine import is_file_for_engines

        if config_name == "test" and is_file_for_engines(given["ckpt"]):
            fail(UserError(f"ckpt={given['ckpt']}: it does not say which data; give data=NAME"))

        from fcos_lightning.runs.config.description import (
            FROM_CHECKPOINT,
            address_of_data,
            offer_data_of,
        )

        try:
            description = read_once(given["ckpt"], given.get("recipe")).about
        except Exception as error:
            fail_if_refused(error)
            raise
        try:
            offered = offer_data_of(description)
        except UserError as error:
            fail(UserError(f"ckpt={given['ckpt']}: {error}"))
        if not offered:
            fail(UserError(f"ckpt={given['ckpt']}: it does not say which data; give data=NAME"))
        root = address_of_data(description)
        if root is not None and "data.root" not in given:
            fail(
                UserError(
                    f"ckpt={given['ckpt']}: its data are at {clean(root)}, and nothing is fetched "
                    "because a file says so; if they are yours, give data.root= that address"
                )
            )
        if "data" not in given:
            # Beside the other override: words after an option would be taken for its values.
            at = next(i for i, word in enumerate(sys.argv) if word.startswith("ckpt="))
            sys.argv.insert(at, f"data={FROM_CHECKPOINT}")
    run(task, config_name)


@functools.cache  # its data is asked for before Hydra composes, its detector afterwards
def read_once(given: str, recipe: str | None) -> Checkpoint:
    """Return a checkpoint, which is read from the disk the first time only."""
    from fcos_lightning.checkpoints import Checkpoint

    return Checkpoint.read(given, recipe)


def test(config: DictConfig) -> None:
    """Evaluate a checkpoint, print the table, and write metrics and predictions."""
    # Imported here, because this costs seconds that help and mistakes should not.
    from rich.console import Console

    from fcos_lightning.cli.app import required
    from fcos_lightning.detector import DenseDetector
    from fcos_lightning.evaluation.output import print_table, write_metrics, write_predictions
    from fcos_lightning.inference.engines.engine import backend_for, is_file_for_engines
    from fcos_lightning.runs.config.composed import given_words
    from fcos_lightning.runs.config.kinds import check_kinds
    from fcos_lightning.runs.evaluating.evaluation_settings import asked_settings, left_out
    from fcos_lightning.runs.evaluating.measured import Measured
    from fcos_lightning.runs.evaluating.reporting import report_on
    from fcos_lightning.runs.folder import new_levels, new_run_folder, removed_if_stopped
    from fcos_lightning.runs.session import make_datamodule, quiet
    from fcos_lightning.storage.folders import complete_or_absent
    from fcos_lightning.storage.replacing import write_whole
    from fcos_lightning.storage.run_folder import RunFolder
    from fcos_lightning.training.testing import evaluate

    check_kinds(config)
    given = required(
        config, "ckpt", "give a checkpoint, as ckpt=runs/NAME/TIME/checkpoints/best.ckpt"
    )
    backend = backend_for(given, config.backend)
    quiet()
    settings = asked_settings(config, given_words())
    if is_file_for_engines(given):
        measured = Measured.of_file(given, backend, config)
    else:
        measured = Measured.of_checkpoint(read_once(given, config.recipe), backend, config)
    classes = measured.classes
    path, choices, views = measured.path, _choices(measured.detector.decoder), measured.views
    datamodule = make_datamodule(config)
    if measured.collate is not None:
        datamodule.collate = measured.collate
    datamodule.read_val(*classes)
    detector, model = measured.ready(config)
    # A folder that was asked for stays, empty, where nothing comes of it.
    split, made = datamodule.val, new_levels(None) if config.run_dir is None else 0
    folder = new_run_folder(config.run_dir, config.name)
    with removed_if_stopped(folder, made):
        summary, table, evaluation = evaluate(
            detector, datamodule, settings, config.trainer.enable_progress_bar, views
        )
        if not is_first_process():
            return
        with complete_or_absent(folder, last=RunFolder.METRICS) as draft:
            kept, pages = RunFolder(draft), []
            if model is not None:
                write_whole(model, kept.onnx)
            write_predictions(table, split.truth, kept.predictions)
            if split.annotated:
                write_metrics(summary, kept.metrics)
                if config.report:
                    assert isinstance(detector, DenseDetector)  # as files have no reports
                    pages = report_on(path, kept, datamodule, detector, table, summary)
    written = [kept.predictions.name]
    if split.annotated:
        written = [kept.metrics.name, *written, *pages]
        print_table(summary, Console(), split.name, left_out(split))
    else:
        print(f"no figures: {split.name} has no list of annotations to measure against")
    if model is not None:
        written.append(kept.onnx.name)
    for note in split.notes():
        print(f"{split.name}: {note}")
    for file in sorted(evaluation.unreadable):
        print(
            f"could not be read and counts as without detections: {printable(file)}",
            file=sys.stderr,
        )
    size = measured.size
    named = f"{len(split.truth.class_names)} classes"
    print(printable(f"{split.name}: {len(split)} images, {size}; {named}{choices}", LONGEST_LINE))
    *others, last = written
    files = f"{', '.join(others)} and {last}" if others else last
    print(printable(f"{path.name} on {split.name}; {files} in {folder}", LONGEST_LINE))


def _choices(decoder: object) -> str:
    """Return how a decoder chooses detections, for people."""
    shown = {
        "score_threshold": "scores above",
        "nms_iou": "NMS at",
        "max_detections": "at most",
    }
    found = [
        f"{said} {getattr(decoder, key):g}" for key, said in shown.items() if hasattr(decoder, key)
    ]
    return f"; {', '.join(found)} an image" if found else ""


if __name__ == "__main__":
    main()
