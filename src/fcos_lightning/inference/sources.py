"""Images without annotations: a file, a folder, a glob, or the frames of a video.

Pictures and frames are turned as their camera says: nobody has annotated them as they are stored.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from fcos_lightning.data.images import IMAGE_ENDINGS, image_size, read_image
from fcos_lightning.errors import UserError
from fcos_lightning.extras import pip_install

VIDEO_ENDINGS = (
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp"),
    *(".ts", ".mts", ".m2ts", ".ogv"),
)

#: Pictures that are not read here; of cameras, phones, drawing programs and web sites.
_OTHER_ENDINGS = (
    *(".heic", ".heif", ".hif", ".jxl", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf"),
    *(".rw2", ".pef", ".srw", ".psd", ".svg", ".exr", ".hdr", ".dcm"),
    *VIDEO_ENDINGS,
)


@dataclass(frozen=True, eq=False)
class Picture:
    """One image, or one frame of a video.

    Attributes:
        number: position in its source, from 1, unreadable images counted.
        name: of its file below the source's folder, parts separated by ``/``.
        pixels: ``[H, W, 3]`` uint8 RGB, upright.
        frame: position in its video, from 0; None for an image.
        path: of its file; None for a frame.
    """

    number: int
    name: str
    pixels: NDArray[np.uint8]
    frame: int | None = None
    path: Path | None = None


@dataclass
class ImageFiles:
    """Image files in a fixed order.

    Attributes:
        paths: where they are.
        names: of the same files below the source's folder, parts separated by ``/``.
        unreadable: one message for each image that was passed over.
        of_other_kinds: names of the source's files that people would look for among its images,
            but that are not read: pictures of other formats, and videos.
    """

    paths: list[Path]
    names: list[str]
    unreadable: list[str] = field(default_factory=list)
    of_other_kinds: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, number: int) -> Picture | UserError:
        """Read an image by its number, from 1; an error where it cannot be read."""
        path = self.paths[number - 1]
        try:
            pixels = read_image(path, upright=True)
        except UserError as error:
            return error
        return Picture(number, self.names[number - 1], pixels, path=path)


@dataclass
class VideoFile:
    """A video whose first video stream is read frame by frame.

    Attributes:
        path: where it is.
        rate: frames per second, on average.
        frames: their number as the file states it, or None where it does not.
        unreadable: one message for each damaged part that was passed over.
    """

    path: Path
    rate: Fraction
    frames: int | None
    unreadable: list[str] = field(default_factory=list)

    @classmethod
    def open(cls, path: Path) -> VideoFile:
        """Read the header of a video.

        Raises:
            UserError: if it is no video, or PyAV is not installed.
        """
        av = import_av()
        try:
            with av.open(str(path)) as container:
                if not container.streams.video:
                    raise UserError(f"video {path} holds no pictures, only sound")
                stream = container.streams.video[0]
                rate = stream.average_rate or stream.guessed_rate or Fraction(25)
                return cls(path, Fraction(rate), stream.frames or None)
        except av.FFmpegError as error:
            raise UserError(f"video {path} cannot be read: {error.strerror}") from None

    def pictures(self) -> Iterator[Picture]:
        """Decode one frame after the other; damaged parts are passed over, and named."""
        av = import_av()
        frame = 0
        with av.open(str(self.path)) as container:
            stream = container.streams.video[0]
            # Several frames at a time would be faster, but swallow errors near the end.
            stream.thread_type = "SLICE"
            packets = container.demux(stream)
            while True:
                try:
                    packet = next(packets, None)
                    if packet is None:
                        break
                    decoded = packet.decode()
                except av.FFmpegError as error:
                    self.unreadable.append(
                        f"video {self.path} is damaged after frame {frame}: {error.strerror}"
                    )
                    continue
                for image in decoded:
                    pixels = image.to_ndarray(format="rgb24")
                    quarter_turns = round(image.rotation / 90)  # counter-clockwise
                    if quarter_turns % 4:
                        pixels = np.ascontiguousarray(np.rot90(pixels, quarter_turns))
                    yield Picture(frame + 1, self.path.name, pixels, frame)
                    frame += 1
        # Decoders pass over much of what is damaged without a word.
        if self.frames and frame < self.frames:
            self.unreadable.append(
                f"video {self.path}: {self.frames - frame} of its {self.frames} frames"
            )


def find_source(source: str) -> ImageFiles | VideoFile:
    """Find what a user means by a source.

    Args:
        source: a file; a folder, taken with its sub-folders; or a glob, in which ``**`` stands for
            any number of folders. Of folders and globs the files with the ending of an image count,
            in the order of their names; hidden ones do not. Links are followed, but no folder is
            entered twice.

    Raises:
        UserError: if there is nothing, or no image in it.
    """
    path = Path(os.path.expanduser(source))
    if path.is_dir():
        return _from_folder(path)
    if path.is_file():
        if path.suffix.lower() in VIDEO_ENDINGS:
            return VideoFile.open(path)
        image_size(path)  # a file that is no image is told from its first bytes
        return ImageFiles([path], [path.name])
    if glob.has_magic(str(path)):
        return _from_glob(str(path))
    raise UserError(
        f"source={source}: no such file or folder; give an image, a folder, a glob or a video"
    )


def import_av() -> ModuleType:
    """Return PyAV.

    Raises:
        UserError: saying how to install it.
    """
    try:
        import av
    except ImportError:
        raise UserError(
            f"videos need PyAV, which is not installed: {pip_install('video')}"
        ) from None
    av.logging.set_level(av.logging.PANIC)  # what matters of FFmpeg's own lines, errors tell
    return av


def _from_folder(folder: Path) -> ImageFiles:
    def refuse(error: OSError) -> None:
        raise UserError(f"source={folder}: cannot list {error.filename}: {error.strerror}")

    found = [
        Path(where, name)
        for where, files in _folders(str(folder), refuse)
        for name in files
        if not name.startswith(".")
    ]
    return _images_among(found, folder, f"source={folder}: the folder holds")


def _folders(
    start: str, refuse: Callable[[OSError], None] | None = None
) -> Iterator[tuple[str, list[str]]]:
    """Yield a folder and those below it, hidden ones left out, each once, with its files' names.

    What links lead to comes last, so that a folder with two names is found under its own.
    """
    entered: set[str] = set()
    linked = [start]
    for road in linked:
        for where, folders, files in os.walk(road, onerror=refuse):
            real = os.path.realpath(where)
            if real in entered:
                folders.clear()
                continue
            entered.add(real)
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            paths = (os.path.join(where, name) for name in folders)
            linked += [path for path in paths if os.path.islink(path)]
            yield where, files


def _matches(pattern: str) -> Iterator[str]:
    """Yield what a glob matches; unlike Python's, ``**`` does not go round in loops of links."""
    parts = Path(pattern).parts
    if "**" not in parts:
        yield from glob.iglob(pattern)
        return
    at = parts.index("**")
    rest = parts[at + 1 :] or ("*",)
    for start in glob.iglob(os.path.join("", *parts[:at]) or "."):
        for folder, _ in _folders(start):
            yield from _matches(os.path.join(glob.escape(folder), *rest))


def _from_glob(pattern: str) -> ImageFiles:
    # The same file may be reached by several roads, and ``..`` must not lead out of the results.
    matches = {os.path.abspath(match) for match in _matches(pattern)}
    found = [Path(match) for match in matches if os.path.isfile(match)]
    if not found:
        raise UserError(
            f"source={pattern}: matches no file; ** stands for any number of folders, and "
            "quotes keep the shell away from it"
        )
    fixed: list[str] = []
    for part in Path(pattern).parts[:-1]:
        if glob.has_magic(part):
            break
        fixed.append(part)
    base = Path(os.path.abspath(os.path.join("", *fixed)))
    if not all(path.is_relative_to(base) for path in found):
        base = Path(os.path.commonpath([path.parent for path in found]))
    return _images_among(found, base, f"source={pattern}: matches")


def _images_among(found: list[Path], base: Path, holds: str) -> ImageFiles:
    """Keep the files with the ending of an image, sorted by their names below ``base``."""
    by_name = {
        path.relative_to(base).as_posix(): path
        for path in found
        if path.suffix.lower() in IMAGE_ENDINGS
    }
    if not by_name:
        videos = sorted(str(path) for path in found if path.suffix.lower() in VIDEO_ENDINGS)
        hint = f"; videos are taken one by one, as source={videos[0]}" if videos else ""
        raise UserError(f"{holds} no image ({len(found)} files of other endings){hint}")
    names = sorted(by_name)
    others = sorted(
        path.relative_to(base).as_posix() for path in found if path.suffix.lower() in _OTHER_ENDINGS
    )
    return ImageFiles([by_name[name] for name in names], names, of_other_kinds=others)
