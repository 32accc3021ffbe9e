"""Images without annotations: a file, a folder, a glob, or the frames of a video.

Pictures and frames are turned as their camera says: nobody has annotated them as they are stored.
"""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath

import numpy as np

from fcos_lightning.data.images import IMAGE_ENDINGS, image_size, read_image
from fcos_lightning.errors import UserError
from fcos_lightning.inference.pictures.picture import Picture
from fcos_lightning.inference.tiling.tiff_rows import rows_of
from fcos_lightning.inference.videos.video import STREAMS, VIDEO_ENDINGS, VideoFile

#: Pictures that are not read here; of cameras, phones, drawing programs and web sites.
_OTHER_ENDINGS = (
    *(".heic", ".heif", ".hif", ".jxl", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf"),
    *(".rw2", ".pef", ".srw", ".psd", ".svg", ".exr", ".hdr", ".dcm"),
    *VIDEO_ENDINGS,
)


def passed_over(names: Sequence[str]) -> str:
    """Return what is said of files that people would look for among a source's images.

    Args:
        names: of the files; not empty.
    """
    kinds = Counter(PurePath(name).suffix.lower() for name in names)
    parts = [f"{count} {ending}" for ending, count in kinds.most_common()]
    files = "1 file" if len(names) == 1 else f"{len(names)} files"
    videos = [name for name in names if PurePath(name).suffix.lower() in VIDEO_ENDINGS]
    advice = ["convert photographs to JPEG or PNG"] if len(videos) < len(names) else []
    if videos:
        advice.append("give a video by itself, as source=FILE")
    return (
        f"passed over: {files} of kinds that are not read from folders ({', '.join(parts)}), as "
        f"{names[0]}; {'; '.join(advice)}"
    )


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

    def read(self, number: int, in_pieces: bool = False) -> Picture | UserError:
        """Read an image; an error where it cannot be read.

        Args:
            number: from 1.
            in_pieces: do not read one that is too large, but give its rows.
        """
        path = self.paths[number - 1]
        try:
            large = rows_of(path) if in_pieces else None
            if large is not None:
                pixels = np.empty((0, 0, 3), dtype=np.uint8)
            else:
                pixels = read_image(path, upright=True)
        except UserError as error:
            return error
        return Picture(number, self.names[number - 1], pixels, path=path, large=large)


def find_source(source: str) -> ImageFiles | VideoFile:
    """Find what a user means by a source.

    Args:
        source: the address of a stream; a file; a folder, taken with its sub-folders; or a glob, in
            which ``**`` stands for any number of folders. Of folders and globs the files with the
            ending of an image count, in the order of their names; hidden ones do not. Links are
            followed, but no folder is entered twice.

    Raises:
        UserError: if there is nothing, or no image in it.
    """
    if source.partition("://")[0].lower() in STREAMS and "://" in source:
        return VideoFile.stream(source)
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
