"""``fcos-predict``: what a checkpoint finds on images or a video."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from fcos_lightning.errors import UserError
from fcos_lightning.printing import LONGEST_LINE, printable
from fcos_lightning.signals import stopped_in_one_line

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from fcos_lightning.inference.sources import ImageFiles
    from fcos_lightning.inference.videos.video import VideoFile


def main() -> None:
    """Entry point of the command."""
    with stopped_in_one_line():
        from fcos_lightning.cli.app import run

        run(predict, "predict")


def predict(config: DictConfig) -> None:
    """Detect on every image or frame of a source, draw, and write predictions.json."""
    # Imported here, because this costs seconds that help and mistakes should not.
    from fcos_lightning.cli.app import required
    from fcos_lightning.inference.sources import find_source
    from fcos_lightning.runs.config.kinds import check_kinds

    check_kinds(config)
    path = required(
        config, "ckpt", "give a checkpoint, as ckpt=runs/NAME/TIME/checkpoints/best.ckpt"
    )
    wanted = required(
        config, "source", "give an image, a folder, a glob or a video, as source=photos"
    )
    results_in = required(config, "out", "give a folder for the results, as out=predictions")
    if config.on_bad_image not in ("error", "skip"):
        raise UserError(f"on_bad_image={config.on_bad_image}: give error or skip")
    source = find_source(wanted)

    from fcos_lightning.data.stores.addresses import clean
    from fcos_lightning.inference.labels.choice import chosen_formats
    from fcos_lightning.inference.outputs import check_free
    from fcos_lightning.inference.predicting import Wanted, callers_for, predict_into
    from fcos_lightning.inference.videos.video import VideoFile
    from fcos_lightning.runs.objects.predictors import predictor_from

    words = [config.save] if isinstance(config.save, str) else list(config.save)
    labels = chosen_formats(words, config.save_images, source, config.draw)
    _check_video_options(config, source)
    out = check_free(results_in)
    predictor = predictor_from(config, path, callers_for(source))
    wanted_files = Wanted(
        config.draw, labels, config.save_images, clean(wanted), Path(path).stem, config.tracker
    )
    done = predict_into(out, predictor, source, wanted_files)
    speed = done.images / max(done.took_s, 1e-9)
    what = "frame" if isinstance(source, VideoFile) else "image"
    counted = f"1 {what}" if done.images == 1 else f"{done.images} {what}s"
    told = f"{counted}, {done.detections} detections, in {printable(out)}"
    print(f"{told}, {speed:.1f} {what}s/s")
    for remark in done.remarks:
        print(remark, file=sys.stderr)
    _tell_what_is_missing(source, str(out), skip=config.on_bad_image == "skip")


def _check_video_options(config: DictConfig, source: ImageFiles | VideoFile) -> None:
    """Set what is about videos alone.

    Raises:
        UserError: if it is asked for and the source is no video, or is none of its choices.
    """
    from fcos_lightning.inference.videos.tracking import tracker_of
    from fcos_lightning.inference.videos.video import VideoFile

    if not isinstance(source, VideoFile):
        for key in ("tracker", "frames"):
            if config[key] is not None:
                raise UserError(f"{key}={config[key]}: is about a video; leave it out")
        return
    if config.frames is not None and config.frames < 1:
        raise UserError(f"frames={config.frames}: give a whole number of at least 1")
    source.most = config.frames
    tracker_of(config.tracker, source.rate)


def _tell_what_is_missing(source: ImageFiles | VideoFile, out: str, skip: bool) -> None:
    """Name what could not be read, once the results of all else are safe.

    Raises:
        UserError: if there is any, unless it may be skipped.
    """
    from fcos_lightning.inference.sources import passed_over
    from fcos_lightning.inference.videos.video import VideoFile

    others = getattr(source, "of_other_kinds", [])
    if others:
        print(passed_over(others), file=sys.stderr)
    messages = source.unreadable
    if skip or len(messages) > 1:
        for message in messages:
            print(f"skipped: {printable(message, LONGEST_LINE)}", file=sys.stderr)
    if messages and not skip:
        parts = "parts of the video" if isinstance(source, VideoFile) else "images"
        what = messages[0] if len(messages) == 1 else f"{len(messages)} {parts} cannot be read"
        raise UserError(f"{what}; all else is in {out}, and on_bad_image=skip makes this no error")


if __name__ == "__main__":
    main()
