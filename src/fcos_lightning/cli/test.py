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
    from omegaconf import DictConfig

    from fcos_lightning.checkpoints import Checkpoint
    from fcos_lightning.training.testing import ViewSizes


def main() -> None:
    """Entry point of the command."""
    with stopped_in_one_line(is_first_process):
        from fcos_lightning.cli.app import run

        _offer_data()
        run(test, "test")


def _offer_data() -> None:
    # The data of a checkpoint has to be among the choices before Hydra composes them, so that
    # overrides as data.root= apply to it. The other processes of a run on several devices are
    # started with this one's words.
    given = dict(word.split("=", 1) for word in sys.argv[1:] if "=" in word)
    if "ckpt" in given and given.get("data", "from_checkpoint") == "from_checkpoint":
        from fcos_lightning.cli.app import fail
        from fcos_lightning.runs.description import FROM_CHECKPOINT, offer_data_of

        try:
            description = _read(given["ckpt"], given.get("recipe")).about
        except UserError as error:
            fail(error)
        try:
            offered = offer_data_of(description)
        except UserError as error:
            fail(UserError(f"ckpt={given['ckpt']}: {error}"))
        if not offered:
            fail(UserError(f"ckpt={given['ckpt']}: it does not say which data; give data=NAME"))
        if "data" not in given:
            # Beside the other override: words after an option would be taken for its values.
            sys.argv.insert(sys.argv.index(f"ckpt={given['ckpt']}"), f"data={FROM_CHECKPOINT}")


@functools.cache  # its data is asked for before Hydra composes, its detector afterwards
def _read(given: str, recipe: str | None) -> Checkpoint:
    from fcos_lightning.checkpoints import Checkpoint

    return Checkpoint.read(given, recipe)


def test(config: DictConfig) -> None:
    """Evaluate a checkpoint, print the table, and write metrics and predictions."""
    # Imported here, because this costs seconds that help and mistakes should not.
    from rich.console import Console

    from fcos_lightning.cli.app import required
    from fcos_lightning.data.collate import Collate
    from fcos_lightning.evaluation.output import print_table, write_metrics, write_predictions
    from fcos_lightning.runs.detectors import detector_from
    from fcos_lightning.runs.evaluation_settings import evaluation_settings, quicker
    from fcos_lightning.runs.folder import new_levels, new_run_folder, removed_if_refused
    from fcos_lightning.runs.session import make_datamodule, quiet
    from fcos_lightning.storage.folders import complete_or_absent
    from fcos_lightning.storage.replacing import write_whole
    from fcos_lightning.storage.run_folder import RunFolder
    from fcos_lightning.training.testing import evaluate

    given = required(
        config, "ckpt", "give a checkpoint, as ckpt=runs/NAME/TIME/checkpoints/best.ckpt"
    )
    if config.backend not in ("torch", "onnx"):
        raise UserError(f"backend={config.backend}: give torch or onnx")
    quiet()
    checkpoint = _read(given, config.recipe)
    path, detector = checkpoint.path, detector_from(checkpoint, config)
    if detector.class_names is None or detector.category_ids is None:
        raise UserError(f"ckpt={path}: it does not name its classes, so it cannot be measured")
    datamodule = make_datamodule(config)
    datamodule.collate = Collate(detector.size_multiple)
    datamodule.read_val(detector.class_names, detector.category_ids)
    views = view_sizes(config)
    model: bytes | None = None
    if config.backend == "onnx":
        from fcos_lightning.inference import OnnxDetector, export_onnx

        sides = {key: config.data.get(key) for key in ("shorter_side", "longer_side")}
        model = export_onnx(detector, **sides)
        detector = OnnxDetector(detector, model)
    else:
        detector = quicker(detector, config.trainer.accelerator, config.channels_last)
    # A folder that was asked for stays, empty, where nothing comes of it.
    split, made = datamodule.val, new_levels(None) if config.run_dir is None else 0
    folder = new_run_folder(config.run_dir, config.name)
    with removed_if_refused(folder, made):
        summary, table, evaluation = evaluate(
            detector, datamodule, evaluation_settings(config), views=views
        )
        if not is_first_process():
            return
        with complete_or_absent(folder, last=RunFolder(folder).metrics.name) as draft:
            kept = RunFolder(draft)
            if model is not None:
                write_whole(model, kept.onnx)
            write_predictions(table, split.truth, kept.predictions)
            if split.annotated:
                write_metrics(summary, kept.metrics)
    written = [kept.predictions.name]
    if split.annotated:
        written.insert(0, kept.metrics.name)
        print_table(summary, Console())
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
    *others, last = written
    files = f"{', '.join(others)} and {last}" if others else last
    print(printable(f"{path.name} on {split.name}; {files} in {folder}", LONGEST_LINE))


def view_sizes(config: DictConfig) -> ViewSizes | None:
    """Return the sizes that ``test.tta`` asks for; None: the one of the data."""
    from fcos_lightning.training.testing import ViewSizes

    if config.test.tta is None:
        return None
    if config.test.tta != "multiscale":
        raise UserError(f"test.tta={config.test.tta}: give multiscale, or null for one size")
    return ViewSizes(tuple(config.test.sizes), config.test.longer_side, config.test.flip)


if __name__ == "__main__":
    main()
