"""From a source to a folder of results; reading, detecting, drawing and writing overlap."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from fcos_lightning.errors import UserError
from fcos_lightning.inference.in_order import from_thread, in_order, thread_count
from fcos_lightning.inference.labels.choice import open_labels
from fcos_lightning.inference.labels.found import ClassList, Found
from fcos_lightning.inference.outputs import PREDICTIONS, DrawnVideo, ResultsFile, drawings_of
from fcos_lightning.inference.pictures.drawing import enlargement
from fcos_lightning.inference.pictures.picture import Picture
from fcos_lightning.inference.predictor import Predictor
from fcos_lightning.inference.prepared import Prepared
from fcos_lightning.inference.sources import ImageFiles
from fcos_lightning.inference.tiling.tiff_rows import DamagedImage
from fcos_lightning.inference.videos.tracking import followed, tracker_of
from fcos_lightning.inference.videos.video import VideoFile
from fcos_lightning.storage.bars import counting_bar
from fcos_lightning.storage.folders import complete_or_absent

_Read = TypeVar("_Read")
#: Batches at a time on processors; each needs memory for a whole pass through the net.
_TOGETHER = 2


@dataclass(frozen=True)
class Wanted:
    """What is to be written.

    Attributes:
        draw: drawn pictures, or a drawn video.
        labels: words of ``labels/choice.py``, as ``chosen_formats`` gives them.
        save_images: copy the images beside their labels.
        source: as the user gave it.
        model: the name that labelling tools show of the detector.
        tracker: follows objects through a video, see ``tracker_of``; None: nothing does.
    """

    draw: bool
    labels: Sequence[str]
    save_images: bool
    source: str
    model: str
    tracker: str | None = None


@dataclass
class Done:
    """What was done.

    Attributes:
        images: that were looked at.
        detections: that were found.
        took_s: from the first image to the last file.
        remarks: sentences for the user.
    """

    images: int = 0
    detections: int = 0
    took_s: float = 0.0
    remarks: list[str] = field(default_factory=list)


def predict_into(
    out: Path, predictor: Predictor, source: ImageFiles | VideoFile, wanted: Wanted
) -> Done:
    """Look at all of a source and write a folder, whole or not at all.

    Images are read and resized in threads, and drawn and written in others, a few ahead and behind
    of the detector, which runs in this one. So neither their number nor slow disks cost memory.

    Args:
        out: the folder, which is new or empty.
        predictor: finds objects.
        source: of pictures; what cannot be read is named in its ``unreadable``.
        wanted: what to write.

    Raises:
        UserError: if nothing can be read, or the folder cannot be written.
    """
    detector = predictor.detector
    done, began = Done(), time.monotonic()
    is_video = isinstance(source, VideoFile)
    threads, undrawn = thread_count(), 0
    tracker = tracker_of(wanted.tracker, source.rate) if isinstance(source, VideoFile) else None
    in_pieces = predictor.in_tiles is not None
    with ExitStack() as stack:
        folder = stack.enter_context(complete_or_absent(out, last=PREDICTIONS))
        results = stack.enter_context(
            ResultsFile(folder / PREDICTIONS, detector.class_names, detector.category_ids)
        )
        classes = ClassList.of(detector)
        labels = stack.enter_context(
            open_labels(
                wanted.labels,
                folder,
                classes,
                wanted.source,
                wanted.model,
                is_video,
                wanted.save_images,
            )
        )
        drawings = (
            stack.enter_context(closing(drawings_of(source, folder))) if wanted.draw else None
        )
        total = source.frames if isinstance(source, VideoFile) else len(source)
        advance = stack.enter_context(counting_bar("frames" if is_video else "images", total))

        def prepared(picture: Picture | UserError) -> tuple[Picture, Prepared] | UserError:
            if isinstance(picture, UserError):
                return picture
            return picture, predictor.prepared(picture.large or picture.pixels)

        def finished(found: Found) -> tuple[Found, NDArray[np.uint8] | None]:
            labels.write_files(found)
            large = found.picture.large is not None
            drawn = None if drawings is None or large else _drawn(found, enlarged=not is_video)
            if drawings is not None and drawn is not None and not is_video:
                drawings.write(found.picture, drawn)
                drawn = None
            return found, drawn

        def encoded(one: tuple[Found, NDArray[np.uint8] | None]) -> Found:
            found, drawn = one
            if drawings is not None and drawn is not None:
                drawings.write(found.picture, drawn)
            return found

        # Closed from the last to the first, before the folder is taken back after an error.
        ahead = threads + 1
        before = predictor.batch_size + ahead
        read: Generator[tuple[Picture, Prepared] | UserError, None, None]
        if isinstance(source, VideoFile):
            frames = stack.enter_context(closing(from_thread(source.pictures(), ahead)))
            read = in_order(prepared, frames, threads, before)
        else:
            numbers = range(1, len(source) + 1)
            read = in_order(
                lambda one: prepared(source.read(one, in_pieces)), numbers, threads, before
            )
        stack.enter_context(closing(read))
        batches = stack.enter_context(closing(_batches(predictor, _readable(source, read))))
        together = stack.enter_context(_detecting(predictor))
        detected = in_order(lambda one: _found(predictor, one), batches, together, together - 1)
        stack.enter_context(closing(detected))
        found: Iterator[Found] = _readable(source, (one for batch in detected for one in batch))
        if tracker is not None:
            found = followed(found, tracker)
        ends = stack.enter_context(closing(in_order(finished, found, threads, ahead)))
        # Frames are encoded one after the other.
        in_turn = stack.enter_context(closing(in_order(encoded, ends, 1, ahead)))
        for one in in_turn:
            undrawn += one.picture.large is not None
            results.write(one.picture, one.detections)
            labels.write(one)
            done.images += 1
            advance()
        if done.images == 0:
            reason = f": {source.unreadable[0]}" if source.unreadable else ""
            raise UserError(f"source={wanted.source}: nothing of it can be read{reason}")
        done.remarks.extend(labels.remarks())
        if isinstance(drawings, DrawnVideo) and drawings.remark is not None:
            done.remarks.append(drawings.remark)
        if undrawn and drawings is not None:
            done.remarks.append(f"{undrawn} images are read in pieces, and not drawn")
    done.detections = results.rows
    done.took_s = time.monotonic() - began
    return done


def _readable(
    source: ImageFiles | VideoFile, walk: Iterator[_Read | UserError]
) -> Generator[_Read, None, None]:
    """Yield what could be read; what could not is named in the source."""
    for one in walk:
        if isinstance(one, UserError):
            source.unreadable.append(str(one))
        else:
            yield one


def _batches(
    predictor: Predictor, pictures: Iterator[tuple[Picture, Prepared]]
) -> Generator[list[tuple[Picture, Prepared]], None, None]:
    while batch := list(islice(pictures, predictor.batch_size)):
        yield batch


def _found(
    predictor: Predictor, batch: Sequence[tuple[Picture, Prepared]]
) -> list[Found | UserError]:
    if len(batch) > 1 and any(picture.large for picture, _ in batch):
        return [found for one in batch for found in _found(predictor, [one])]
    try:
        found = predictor.detected([prepared for _, prepared in batch])
    except DamagedImage as error:  # which is known only once its last rows are read
        return [error]
    return [Found(picture, one) for (picture, _), one in zip(batch, found, strict=True)]


def callers_for(source: ImageFiles | VideoFile) -> int:
    """Say how many batches of a source an engine should be made for at a time, see ``Engine``."""
    alone = isinstance(source, ImageFiles) and len(source) == 1
    return 1 if alone else min(_TOGETHER, torch.get_num_threads())


@contextmanager
def _detecting(predictor: Predictor) -> Iterator[int]:
    """Say how many batches are detected on at a time: on processors two, each by half of them.

    Much of a small net's time goes into steps that several processors do no faster than one; so
    they do another image's meanwhile. On a GPU one batch follows the other.
    """
    threads = torch.get_num_threads()
    together = _TOGETHER if predictor.engine is None else predictor.engine.callers
    if predictor.device.type != "cpu" or threads < together:
        together = 1
    torch.set_num_threads(threads // together)
    try:
        yield together
    finally:
        torch.set_num_threads(threads)


def _drawn(found: Found, enlarged: bool) -> NDArray[np.uint8]:
    """Return a picture with what is found, small images enlarged; a video keeps its size."""
    pixels = found.picture.pixels
    height, width = pixels.shape[:2]
    larger = enlargement(width, height) if enlarged else 1
    if larger == 1:
        return np.asarray(found.detections.draw(pixels))
    detections = replace(found.detections, boxes_xyxy=found.detections.boxes_xyxy * larger)
    return np.asarray(detections.draw(pixels.repeat(larger, axis=0).repeat(larger, axis=1)))
