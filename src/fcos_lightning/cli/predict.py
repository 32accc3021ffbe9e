"""``fcos-predict``: what a checkpoint finds on images or a video."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any

from fcos_lightning.cli.app import run
from fcos_lightning.cli.words import quoted_path
from fcos_lightning.errors import UserError
from fcos_lightning.printing import LONGEST_LINE, printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    import torch
    from numpy.typing import NDArray
    from omegaconf import DictConfig

    from fcos_lightning.data.augment import Augmentation
    from fcos_lightning.data.sources import Picture
    from fcos_lightning.detector import FCOS
    from fcos_lightning.structures import Detections

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
    from fcos_lightning.data.sources import ImageFiles, find_source

    path = required(
        config, "ckpt", "give a checkpoint, as ckpt=runs/NAME/TIME/checkpoints/best.ckpt"
    )
    wanted = required(
        config, "source", "give an image, a folder, a glob or a video, as source=photos"
    )
    results_in = required(config, "out", "give a folder for the results, as out=predictions")
    threshold = _number(config, "score_threshold", 0.0, 1.0)
    batch_size = int(_number(config, "batch_size", 1))
    if config.on_bad_image not in ("error", "skip"):
        raise UserError(f"on_bad_image={config.on_bad_image}: give error or skip")
    source = find_source(wanted)

    import time
    from contextlib import ExitStack, closing

    from rich.console import Console
    from rich.progress import Progress

    from fcos_lightning.cli.prediction_folder import (
        PREDICTIONS,
        ResultsFile,
        check_free,
        complete_or_absent,
        drawings_of,
    )

    out = check_free(results_in)
    device = chosen_device(str(config.device))
    detector, resize = _loaded(config, path, device)

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
        for batch in _batches(source.pictures(config.on_bad_image), batch_size):
            found = detect(detector, resize, [picture.pixels for picture in batch], batch_size)
            for picture, detections in zip(batch, found, strict=True):
                kept = _above(detections, threshold)
                results.write(picture, kept)
                if drawings is not None:
                    drawings.write(picture, drawn(picture.pixels, kept, detector.class_names))
            images_done += len(batch)
            bar.advance(task, len(batch))
        if images_done == 0:
            reason = f": {source.unreadable[0]}" if source.unreadable else ""
            raise UserError(f"source={wanted}: nothing of it can be read{reason}")
    for message in source.unreadable:
        print(f"skipped: {printable(message, LONGEST_LINE)}", file=sys.stderr)
    speed = images_done / max(time.monotonic() - began, 1e-9)
    done = f"{images_done} images, {results.rows} detections, in {printable(out)}"
    print(f"{done}, {speed:.1f} images/s")


def chosen_device(name: str) -> torch.device:
    """Return a device that is there.

    Args:
        name: ``auto`` (a GPU if there is one), ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.

    Raises:
        UserError: if the name is unknown, or there is no such device.
    """
    import torch

    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    has_mps = torch.backends.mps.is_available()
    if name == "auto":
        name = "cuda" if gpus else "mps" if has_mps else "cpu"
    if not re.fullmatch(r"cpu|mps|cuda(:\d+)?", name):
        raise UserError(f"device={name}: give auto, cpu, cuda, cuda:N or mps")
    if name.startswith("cuda"):
        number = int(name.partition(":")[2] or 0)
        if gpus == 0:
            raise UserError(f"device={name}: torch finds no GPU here; give device=cpu")
        if number >= gpus:
            raise UserError(f"device={name}: there are {gpus} GPUs, cuda:0 to cuda:{gpus - 1}")
    if name == "mps" and not has_mps:
        raise UserError("device=mps: torch finds no Apple GPU here; give device=cpu")
    return torch.device(name)


def detect(
    detector: FCOS, resize: Augmentation, images: Sequence[NDArray[np.uint8]], batch_size: int
) -> list[Detections]:
    """Detect on images ``[H, W, 3]`` of any sizes, resized as evaluation does.

    Returns:
        One for each image, on the processor, in pixels of the image given.

    Raises:
        UserError: if the device has too little memory, or the checkpoint's weights are broken.
    """
    import numpy as np
    import torch

    from fcos_lightning.training.module import in_original_frame

    none = np.zeros((0, 4)), np.zeros(0, dtype=np.int64)
    resized = [
        torch.from_numpy(np.ascontiguousarray(resize(image, *none, seed=0)[0].transpose(2, 0, 1)))
        for image in images
    ]
    try:
        found = [detections.to("cpu") for detections in detector.detect(resized)]
    except torch.OutOfMemoryError:
        raise UserError(
            f"the GPU has too little memory for batch_size={batch_size} at this size; give a "
            "smaller batch_size= or shorter_side=, or device=cpu"
        ) from None
    if not all(torch.isfinite(detections.boxes_xyxy).all() for detections in found):
        raise UserError("the checkpoint gives boxes that are not finite: its training went wrong")
    return [
        in_original_frame(detections, torch.tensor(small.shape[1:]), torch.tensor(image.shape[:2]))
        for detections, small, image in zip(found, resized, images, strict=True)
    ]


def drawn(
    pixels: NDArray[np.uint8], detections: Detections, class_names: Sequence[str] | None
) -> NDArray[np.uint8]:
    """Return a copy of an image ``[H, W, 3]`` with what was found on it, the best on top."""
    import torch

    from fcos_lightning.drawing import draw

    parts = (detections.boxes_xyxy, detections.labels, detections.scores)
    boxes_xyxy, labels, scores = (part.flip(0) for part in parts)
    image = torch.from_numpy(pixels).permute(2, 0, 1)
    picture = draw(image, boxes_xyxy, labels, class_names, scores)
    return picture.permute(1, 2, 0).contiguous().numpy()


def _loaded(config: DictConfig, path: str, device: torch.device) -> tuple[FCOS, Augmentation]:
    """Return the detector of a checkpoint, and the resizing it was evaluated with."""
    import os

    import torch

    from fcos_lightning.checkpoints import load_weights, read_checkpoint
    from fcos_lightning.checkpoints.native import KEY, detector_of
    from fcos_lightning.cli.instantiate import make
    from fcos_lightning.cli.published import checkpoint_file, recipe_for
    from fcos_lightning.data.augment import Augmentation, ShorterSide
    from fcos_lightning.detector import for_inference

    recipe = recipe_for(path, config.get("recipe"))
    path = str(checkpoint_file(os.path.expanduser(path)))
    content = read_checkpoint(path, recipe)
    description = content[KEY]
    shorter, longer = _sides(config, description, path)
    decoder = {k: v for k, v in (config.decoder or {}).items() if v is not None}
    if config.get("model") is None:
        detector = detector_of(content, path, device, decoder)
    else:
        if decoder:
            key = min(decoder)
            raise UserError(
                f"decoder.{key}= is the checkpoint's; with model= use model.decoder.{key}="
            )
        spec = description["spec"]
        detector = make(
            config, "model", class_names=spec["class_names"], category_ids=spec["category_ids"]
        )
        load_weights(detector, content, path)
        detector.to(device).eval()
    if description.get("channels_last"):
        detector = detector.to(memory_format=torch.channels_last)
    detector = for_inference(detector, config.channels_last)
    return detector, Augmentation([ShorterSide(shorter, longer)])


def _sides(config: DictConfig, description: dict[str, Any], path: str) -> tuple[int, int]:
    """Return the sides that images are resized to: the user's, else the checkpoint's."""
    keys = ("shorter_side", "longer_side")
    given = [key for key in keys if config.get(key) is not None]
    sides = {key: int(_number(config, key, 1)) for key in given}
    for key in keys:
        if key not in sides and isinstance(description.get(key), int):
            sides[key] = description[key]
    missing = [f"{key}=" for key in keys if key not in sides]
    if missing:
        raise UserError(
            f"checkpoint {path} does not say at which size it was evaluated; give "
            f"{' and '.join(missing)} in pixels, for the paper's detectors 800 and 1333"
        )
    shorter, longer = sides["shorter_side"], sides["longer_side"]
    if given and longer < shorter:
        raise UserError(
            f"longer_side={longer} is below shorter_side={shorter}; what is not given is the "
            "checkpoint's; give both"
        )
    return shorter, longer


def _number(config: DictConfig, key: str, low: float, high: float | None = None) -> float:
    """Return a number of the configuration: whole where there is no upper end."""
    value = config[key]
    kinds = (int,) if high is None else (int, float)
    fits = isinstance(value, kinds) and not isinstance(value, bool) and value >= low
    if not fits or (high is not None and value > high):
        asked = f"a whole number of at least {low:.0f}" if high is None else f"{low:g} to {high:g}"
        raise UserError(f"{key}={value}: give {asked}")
    return float(value)


def _batches(pictures: Iterator[Picture], size: int) -> Iterator[list[Picture]]:
    from itertools import islice

    while batch := list(islice(pictures, size)):
        yield batch


def _above(detections: Detections, threshold: float) -> Detections:
    from fcos_lightning.structures import Detections

    kept = detections.scores >= threshold
    return Detections(detections.boxes_xyxy[kept], detections.scores[kept], detections.labels[kept])


if __name__ == "__main__":
    main()
