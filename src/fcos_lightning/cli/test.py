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
    from fcos_lightning.detector import DenseDetector
    from fcos_lightning.training.testing import TiledSizes, ViewSizes


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
    if "ckpt" in given and given.get("data", "from_checkpoint") == "from_checkpoint":
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
    from fcos_lightning.data.batches.collate import Collate
    from fcos_lightning.evaluation.output import print_table, write_metrics, write_predictions
    from fcos_lightning.runs.config.composed import given_words
    from fcos_lightning.runs.config.kinds import check_kinds
    from fcos_lightning.runs.evaluation_settings import (
        asked_settings,
        left_out,
        quicker,
        sized_as_trained,
    )
    from fcos_lightning.runs.folder import new_levels, new_run_folder, removed_if_stopped
    from fcos_lightning.runs.objects.detectors import detector_from
    from fcos_lightning.runs.reporting import report_on
    from fcos_lightning.runs.session import make_datamodule, quiet
    from fcos_lightning.storage.folders import complete_or_absent
    from fcos_lightning.storage.replacing import write_whole
    from fcos_lightning.storage.run_folder import RunFolder
    from fcos_lightning.training.testing import TiledSizes, evaluate

    check_kinds(config)
    given = required(
        config, "ckpt", "give a checkpoint, as ckpt=runs/NAME/TIME/checkpoints/best.ckpt"
    )
    if config.backend not in ("torch", "onnx"):
        raise UserError(f"backend={config.backend}: give torch or onnx")
    quiet()
    settings = asked_settings(config, given_words())
    checkpoint = read_once(given, config.recipe)
    path, detector = checkpoint.path, detector_from(checkpoint, config)
    choices = _choices(detector)
    if detector.class_names is None or detector.category_ids is None:
        raise UserError(f"ckpt={path}: it does not name its classes, so it cannot be measured")
    size = sized_as_trained(config, checkpoint.about, given_words())
    datamodule = make_datamodule(config)
    datamodule.collate = Collate(detector.size_multiple, detector.pad_beyond)
    datamodule.read_val(detector.class_names, detector.category_ids)
    views = view_sizes(config) or tiled_sizes(config)
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
    if isinstance(views, TiledSizes):
        cut = views.tiles
        size = f"in tiles of {cut.height}x{cut.width} pixels, each {size}"
    elif views is not None:
        size = f"shorter sides {', '.join(map(str, views.sizes))}, longer at most"
        size += f" {views.longer_side}" + (", each also mirrored" if views.flip else "")
    named = f"{len(split.truth.class_names)} classes"
    print(printable(f"{split.name}: {len(split)} images, {size}; {named}{choices}", LONGEST_LINE))
    *others, last = written
    files = f"{', '.join(others)} and {last}" if others else last
    print(printable(f"{path.name} on {split.name}; {files} in {folder}", LONGEST_LINE))


def _choices(detector: DenseDetector) -> str:
    """Return how detections are chosen, for people."""
    decoder = detector.decoder
    shown = {
        "score_threshold": "scores above",
        "nms_iou": "NMS at",
        "max_detections": "at most",
    }
    found = [
        f"{said} {getattr(decoder, key):g}" for key, said in shown.items() if hasattr(decoder, key)
    ]
    return f"; {', '.join(found)} an image" if found else ""


def view_sizes(config: DictConfig) -> ViewSizes | None:
    """Return the sizes that ``test.tta`` asks for; None: the one of the data."""
    from fcos_lightning.training.testing import ViewSizes

    if config.test.tta is not None and config.tiles is not None:
        raise UserError(f"tiles={config.tiles} test.tta={config.test.tta}: give one of the two")
    if config.test.tta is None:
        return None
    if config.test.tta != "multiscale":
        raise UserError(f"test.tta={config.test.tta}: give multiscale, or null for one size")
    return ViewSizes(tuple(config.test.sizes), config.test.longer_side, config.test.flip)


def tiled_sizes(config: DictConfig) -> TiledSizes | None:
    """Return the tiles that ``tiles`` asks for; None: images are looked at as a whole.

    Raises:
        UserError: for what is no size.
    """
    from fcos_lightning.inference.tiling.windows import Tiles
    from fcos_lightning.training.testing import TiledSizes

    if config.tiles is None:
        return None
    sides = int(config.data.shorter_side), int(config.data.longer_side)
    return TiledSizes(Tiles.of(config.tiles, config.tiles_overlap, sides[0]), sides)


if __name__ == "__main__":
    main()
