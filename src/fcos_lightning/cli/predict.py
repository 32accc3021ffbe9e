"""``fcos-predict``: what a checkpoint finds on images or a video."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from fcos_lightning.errors import UserError
from fcos_lightning.printing import LONGEST_LINE, printable
from fcos_lightning.signals import stopped_in_one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray
    from omegaconf import DictConfig
    from PIL.Image import Image

    from fcos_lightning.inference import Predictor
    from fcos_lightning.inference.sources import ImageFiles, Picture, VideoFile
    from fcos_lightning.structures import Detections


def main() -> None:
    """Entry point of the command."""
    with stopped_in_one_line():
        from fcos_lightning.cli.app import run

        run(predict, "predict")


def predict(config: DictConfig) -> None:
    """Detect on every image or frame of a source, draw, and write predictions.json."""
    # Imported here, because this costs seconds that help and mistakes should not.
    from fcos_lightning.cli.app import required
    from fcos_lightning.inference.sources import ImageFiles, find_source
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

    import time
    from collections import deque
    from contextlib import ExitStack, closing

    import numpy as np

    from fcos_lightning.inference.outputs import (
        PREDICTIONS,
        ResultsFile,
        check_free,
        drawings_of,
    )
    from fcos_lightning.storage.bars import counting_bar
    from fcos_lightning.storage.folders import complete_or_absent

    out = check_free(results_in)
    predictor = _predictor(config, path)
    detector = predictor.detector

    images_done, began = 0, time.monotonic()
    with ExitStack() as stack:
        folder = stack.enter_context(complete_or_absent(out, last=PREDICTIONS))
        results = stack.enter_context(
            ResultsFile(folder / PREDICTIONS, detector.class_names, detector.category_ids)
        )
        drawings = (
            stack.enter_context(closing(drawings_of(source, folder))) if config.draw else None
        )
        total = len(source) if isinstance(source, ImageFiles) else source.frames
        what = "images" if isinstance(source, ImageFiles) else "frames"
        advance = stack.enter_context(counting_bar(what, total))
        is_video = not isinstance(source, ImageFiles)
        waiting: deque[Picture] = deque()  # read, and not yet answered for: a batch at most

        def pixels() -> Iterator[NDArray[np.uint8]]:
            for picture in source.pictures():
                waiting.append(picture)
                yield picture.pixels

        for found in predictor.stream(pixels()):
            picture = waiting.popleft()
            results.write(picture, found)
            if drawings is not None:
                drawings.write(picture, np.asarray(_drawn(found, picture.pixels, is_video)))
            images_done += 1
            advance()
        if images_done == 0:
            reason = f": {source.unreadable[0]}" if source.unreadable else ""
            raise UserError(f"source={wanted}: nothing of it can be read{reason}")
    speed = images_done / max(time.monotonic() - began, 1e-9)
    done = f"{images_done} images, {results.rows} detections, in {printable(out)}"
    print(f"{done}, {speed:.1f} images/s")
    _tell_what_is_missing(source, str(out), skip=config.on_bad_image == "skip")


def _drawn(found: Detections, pixels: NDArray[np.uint8], is_video: bool) -> Image:
    """Return a picture with what is found, small images enlarged; a video keeps its size."""
    from fcos_lightning.inference.drawing import enlargement

    height, width = pixels.shape[:2]
    larger = 1 if is_video else enlargement(width, height)
    if larger == 1:
        return found.draw(pixels)
    scaled = replace(found, boxes_xyxy=found.boxes_xyxy * larger)
    return scaled.draw(pixels.repeat(larger, axis=0).repeat(larger, axis=1))


def _tell_what_is_missing(source: ImageFiles | VideoFile, out: str, skip: bool) -> None:
    """Name what could not be read, once the results of all else are safe.

    Raises:
        UserError: if there is any, unless it may be skipped.
    """
    others = getattr(source, "of_other_kinds", [])
    if others:
        files = "1 file" if len(others) == 1 else f"{len(others)} files"
        print(f"passed over: {files} of kinds that are not read, as {others[0]}", file=sys.stderr)
    messages = source.unreadable
    if skip or len(messages) > 1:
        for message in messages:
            print(f"skipped: {printable(message, LONGEST_LINE)}", file=sys.stderr)
    if messages and not skip:
        what = messages[0] if len(messages) == 1 else f"{len(messages)} parts cannot be read"
        raise UserError(f"{what}; all else is in {out}, and on_bad_image=skip makes this no error")


def _predictor(config: DictConfig, path: str) -> Predictor:
    """Return the predictor of a checkpoint, as the user wants it."""
    from fcos_lightning.checkpoints import Checkpoint
    from fcos_lightning.inference import Predictor
    from fcos_lightning.inference.predictor import sides_of
    from fcos_lightning.runs.config.composed import given_words
    from fcos_lightning.runs.objects.detectors import detector_from

    options = {
        key: config[key]
        for key in ("device", "score_threshold", "thresholds", "channels_last", "batch_size")
    }
    if config.thresholds is not None and "score_threshold" not in given_words():
        options["score_threshold"] = 0.0  # the file has one for classes that it does not name
    sides = {key: config.get(key) for key in ("shorter_side", "longer_side")}
    checkpoint = Checkpoint.read(path, config.recipe)
    shorter_side, longer_side = sides_of(checkpoint, **sides)
    return Predictor(detector_from(checkpoint, config), shorter_side, longer_side, **options)


if __name__ == "__main__":
    main()
