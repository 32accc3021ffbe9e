"""Sizes of images that annotations do not state, from the headers of their files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, TypeAlias

from fcos_lightning.data.complaints import unusable
from fcos_lightning.data.images import ImageSource, image_frame, image_size
from fcos_lightning.errors import UserError

#: Height and width of the stored pixels, and the EXIF orientation, 1 to 8.
Frame: TypeAlias = tuple[tuple[int, int], int]


class Headers(Protocol):
    """Reads headers, wherever the images of a folder are."""

    def __call__(
        self, folder: Path, names: Sequence[str], *, oriented: bool, skip: bool = False
    ) -> list[Frame]:
        """Return a frame for each image; no size at all where complaints of it are kept.

        Args:
            folder: of the images.
            names: below it, as found there.
            oriented: whether the orientation matters; else it may be given as 1.
            skip: give no size to what is no image; ``build_split`` leaves it out.

        Raises:
            UserError: if a file is no image, and nobody keeps complaints; it names the file.
        """


def headers_of_files(
    folder: Path, names: Sequence[str], *, oriented: bool, skip: bool = False
) -> list[Frame]:
    """Read the headers of files of this machine, see ``Headers``."""
    frames = []
    for name in names:
        try:
            frames.append(frame_of(folder / name, oriented))
        except UserError as error:
            frames.append(no_frame(error, skip))
    return frames


def frame_of(image: ImageSource, oriented: bool) -> Frame:
    """Return the frame of an image.

    Raises:
        UserError: if it is none.
    """
    return image_frame(image) if oriented else (image_size(image), 1)


def no_frame(error: UserError, skip: bool) -> Frame:
    """Return the frame of an image that cannot be read, to be left out or complained of.

    Raises:
        UserError: ``error`` and what to do, where neither is wanted.
    """
    if not skip:
        advice = "mend or remove it, or leave such images out by data.on_bad_image=skip"
        unusable(UserError(f"{error}; {advice}"))
    return (0, 0), 1
