"""What fcos-predict leaves behind: drawn pictures or a drawn video, and predictions.json."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import chain, count
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any, Protocol, TextIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fcos_lightning.errors import UserError
from fcos_lightning.evaluation.detections import xywh_of
from fcos_lightning.inference.pictures.picture import Picture
from fcos_lightning.inference.sources import ImageFiles
from fcos_lightning.inference.videos.video import VideoFile, import_av
from fcos_lightning.storage.encoding import encoded
from fcos_lightning.storage.folders import remove_dead_drafts
from fcos_lightning.structures import Detections

PREDICTIONS = "predictions.json"
#: Formats that keep what is drawn. Of the others GIF has too few colours, and some are rarely read.
_KEPT_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
#: The longest side that these formats can hold, in pixels.
_LONGEST_SIDES = {".webp": 16383, ".jpg": 65500, ".jpeg": 65500}
_KEPT_VIDEO_ENDINGS = (".mp4", ".m4v", ".mov", ".mkv")


def check_free(out: str) -> Path:
    """Return the folder for the results.

    Raises:
        UserError: if it holds anything already.
    """
    folder = Path(os.path.expanduser(out))
    remove_dead_drafts(folder)
    try:
        taken = folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
    except OSError as error:
        raise UserError(f"out={out}: cannot be read: {error.strerror}") from None
    if taken:
        what = "is not empty" if folder.is_dir() else "is a file"
        raise UserError(f"out={out}: {what}, and nothing is written over; choose a new folder")
    return folder


class ResultsFile:
    """Detections in COCO's results format, one to a line, written as they come.

    Args:
        path: file to write.
        class_names: one per label, or None where nobody said.
        category_ids: one per label, or None: the labels themselves.
    """

    def __init__(
        self,
        path: Path,
        class_names: Sequence[str] | None,
        category_ids: Sequence[int] | None,
    ) -> None:
        self.path = path
        self.class_names = class_names
        self.category_ids = category_ids
        self.rows = 0

    def __enter__(self) -> ResultsFile:
        self._file: TextIO = self.path.open("w", encoding="utf-8")
        self._file.write("[")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._file:
            self._file.write("\n]\n")

    def write(self, picture: Picture, detections: Detections) -> None:
        """Add the detections of a picture, in pixels of it."""
        scores = detections.scores.tolist()
        boxes = xywh_of(detections.boxes_xyxy.numpy()).tolist()
        tracks = [0] * len(scores)
        if detections.track_ids is not None:
            tracks = detections.track_ids.tolist()
        rows = zip(detections.labels.tolist(), scores, boxes, tracks, strict=True)
        for label, score, bbox, track in rows:
            row: dict[str, Any] = {
                "image_id": picture.number,
                "category_id": self.category_ids[label] if self.category_ids else label,
                "bbox": bbox,
                "score": score,
                "file_name": picture.name,
                "category_name": self.class_names[label] if self.class_names else str(label),
            }
            if picture.frame is not None:
                row["frame"] = picture.frame
            if track:
                row["track_id"] = track
            self._file.write(",\n" if self.rows else "\n")
            self._file.write(json.dumps(row, allow_nan=False))
            self.rows += 1


class Drawings(Protocol):
    """Where drawn pictures go, one after the other."""

    def write(self, picture: Picture, drawn: NDArray[np.uint8]) -> None:
        """Take what was drawn on a picture, ``[H, W, 3]`` uint8 RGB."""

    def close(self) -> None:
        """Finish what was begun."""


def drawings_of(source: ImageFiles | VideoFile, folder: Path) -> Drawings:
    """Return the place for the drawings of a source within a folder."""
    if isinstance(source, VideoFile):
        return DrawnVideo(folder, source)
    return DrawnImages(folder, source.names)


class DrawnImages:
    """Each drawn image under its own name.

    Args:
        folder: to write into.
        names: of all images, sub-folders included.
    """

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self._folder = folder
        self._names = drawn_names(names)

    def write(self, picture: Picture, drawn: NDArray[np.uint8]) -> None:
        """Save what was drawn on an image."""
        file = self._folder / self._names[picture.name]
        if max(drawn.shape) > _LONGEST_SIDES.get(file.suffix.lower(), max(drawn.shape)):
            file = file.with_name(f"{file.name}.drawn.png")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(encoded(Image.fromarray(drawn), file.name, quality=90))

    def close(self) -> None:
        """Do nothing: every image is a file of its own."""


class DrawnVideo:
    """The drawn frames as a video, H.264 where it can be: same frame rate, without sound.

    Attributes:
        remark: why it is not H.264; None where it is.

    Args:
        folder: to write into.
        source: gives the name and the frame rate.

    Raises:
        UserError: if no encoder is there.
    """

    def __init__(self, folder: Path, source: VideoFile) -> None:
        av = import_av()
        self._av = av
        name = Path(source.path.name)
        if name.suffix.lower() not in _KEPT_VIDEO_ENDINGS:
            name = name.with_suffix(".mp4")
        codec = next((codec for codec in ("libx264", "mpeg4") if _can_encode(av, codec)), None)
        if codec is None:
            raise UserError("this PyAV has neither an H.264 nor an MPEG-4 encoder; give draw=false")
        self.remark = (
            None
            if codec == "libx264"
            else f"{name} is MPEG-4: this PyAV has no encoder for H.264 (libx264)"
        )
        self._container = av.open(str(folder / name), "w")
        self._stream = self._container.add_stream(codec, rate=_expressible(source.rate))
        self._stream.pix_fmt = "yuv420p"  # what every player shows
        if codec == "mpeg4":
            self._stream.codec_context.options = {"qscale": "4"}
        self._begun = False

    def write(self, picture: Picture, drawn: NDArray[np.uint8]) -> None:
        """Encode a frame."""
        height, width = drawn.shape[:2]
        # Colour has half the resolution of brightness: the encoder takes even sizes only.
        even = np.pad(drawn, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        if not self._begun:
            self._stream.height, self._stream.width = even.shape[:2]
            self._begun = True
        frame = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24")
        self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        """Write what the encoder still holds."""
        if self._begun:
            self._container.mux(self._stream.encode())
        self._container.close()


def drawn_names(names: Iterable[str]) -> dict[str, str]:
    """Map the name of each image to the name its drawing gets; no two get the same.

    An ending stays where its format can hold a drawing, and becomes ``.jpg`` where not. Where file
    systems ignore case, names that differ in it alone count as the same.
    """
    paths = [PurePosixPath(name) for name in names]
    taken = {str(folder).casefold() for path in paths for folder in path.parents}
    kept = [path for path in paths if path.suffix.lower() in _KEPT_ENDINGS]
    changed = [path for path in paths if path.suffix.lower() not in _KEPT_ENDINGS]
    drawn: dict[str, str] = {}
    # Names that stay come first: a.gif must not take the place of a.jpg.
    for path, wanted in chain(
        ((path, (path,)) for path in kept),
        (
            (path, (path.with_suffix(".jpg"), path.with_name(f"{path.name}.jpg")))
            for path in changed
        ),
    ):
        numbered = (
            wanted[-1].with_name(f"{wanted[-1].stem}_{number}{wanted[-1].suffix}")
            for number in count(2)
        )
        free = next(name for name in chain(wanted, numbered) if str(name).casefold() not in taken)
        taken.add(str(free).casefold())
        drawn[str(path)] = str(free)
    return drawn


def _can_encode(av: Any, name: str) -> bool:  # noqa: ANN401  # PyAV itself
    try:
        av.codec.Codec(name, "w")
    except ValueError:  # PyAV's UnknownCodecError
        return False
    return True


def _expressible(rate: Fraction) -> Fraction:
    """Return the nearest rate that MPEG-4 can state: its numerator has 16 bit."""
    return rate.limit_denominator(max(1, int(65535 / rate)))
