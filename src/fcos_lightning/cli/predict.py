"""``fcos-predict``: what a checkpoint finds on images or a video."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from fcos_lightning.cli.app import run
from fcos_lightning.errors import UserError
from fcos_lightning.runs.words import quoted_path

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray
    from omegaconf import DictConfig

    from fcos_lightning.inference import Predictor
    from fcos_lightning.inference.sources import Picture

_PATHS = ("ckpt", "source", "out")


def main() -> None:
    """Entry point of the command."""
    if not {"-m", "--multirun"} & set(sys.argv):  # where a comma separates values
        sys.argv[1:] = [quoted_path(word, _PATHS) for word in sys.argv[1:]]
    run(predict, "predict")


def predict(config: DictConfig) -> None:
    """Detect on every image or frame of a source, draw, and write predictions.json."""
    # Imported here, because this costs seconds that help and mistakes should not.
    from fcos_lightning.cli.app import required
    from fcos_lightning.inference.sources import ImageFiles, find_source

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
    from rich.console import Console
    from rich.progress import Progress

    from fcos_lightning.inference.outputs import (
        PREDICTIONS,
        ResultsFile,
        check_free,
        complete_or_absent,
        drawings_of,
    )

    out = check_free(results_in)
    predictor = _predictor(config, path)
    detector = predictor.detector

    images_done, began = 0, time.monotonic()
    console = Console(stderr=True)
    with ExitStack() as stack:
        folder = stack.enter_context(complete_or_absent(out))
        results = stack.enter_context(
            ResultsFile(folder / PREDICTIONS, detector.class_names, detector.category_ids)
        )
        drawings = (
            stack.enter_context(closing(drawings_of(source, folder))) if config.draw else None
        )
        bar = stack.enter_context(Progress(console=console, disable=not console.is_terminal))
        total = len(source) if isinstance(source, ImageFiles) else source.frames
        task = bar.add_task("images" if isinstance(source, ImageFiles) else "frames", total=total)
        waiting: deque[Picture] = deque()  # read, and not yet answered for: a batch at most

        def pixels() -> Iterator[NDArray[np.uint8]]:
            for picture in source.pictures(config.on_bad_image):
                waiting.append(picture)
                yield picture.pixels

        for found in predictor.stream(pixels()):
            picture = waiting.popleft()
            results.write(picture, found)
            if drawings is not None:
                drawings.write(picture, np.asarray(found.draw(picture.pixels)))
            images_done += 1
            bar.advance(task)
        if images_done == 0:
            reason = f": {source.unreadable[0]}" if source.unreadable else ""
            raise UserError(f"source={wanted}: nothing of it can be read{reason}")
    for message in source.unreadable:
        print(f"skipped: {message}", file=sys.stderr)
    speed = images_done / max(time.monotonic() - began, 1e-9)
    print(f"{images_done} images, {results.rows} detections, in {out}, {speed:.1f} images/s")


def _predictor(config: DictConfig, path: str) -> Predictor:
    """Return the predictor of a checkpoint, as the user wants it."""
    from fcos_lightning.checkpoints import Checkpoint
    from fcos_lightning.inference import Predictor
    from fcos_lightning.inference.predictor import sides_of
    from fcos_lightning.runs.detectors import detector_from

    options = {
        key: config[key] for key in ("device", "score_threshold", "channels_last", "batch_size")
    }
    sides = {key: config.get(key) for key in ("shorter_side", "longer_side")}
    checkpoint = Checkpoint.read(path, config.recipe)
    shorter_side, longer_side = sides_of(checkpoint, **sides)
    return Predictor(detector_from(checkpoint, config), shorter_side, longer_side, **options)


if __name__ == "__main__":
    main()
