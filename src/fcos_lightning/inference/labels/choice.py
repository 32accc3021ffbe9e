"""Which formats of labels a user asks for, and the writers of them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path, PurePosixPath

from fcos_lightning.data.readers.values import is_text
from fcos_lightning.errors import UserError, shown
from fcos_lightning.inference.labels.coco import CocoLabels
from fcos_lightning.inference.labels.crops import Crops
from fcos_lightning.inference.labels.csv_table import CsvLabels
from fcos_lightning.inference.labels.cvat import CvatLabels
from fcos_lightning.inference.labels.found import ClassList, Found, LabelFormat, Place
from fcos_lightning.inference.labels.label_studio import LabelStudioTasks
from fcos_lightning.inference.labels.voc import VocLabels
from fcos_lightning.inference.labels.yolo import YoloLabels
from fcos_lightning.inference.sources import ImageFiles
from fcos_lightning.inference.videos.video import VideoFile

#: By the words of ``save=``, which are the names of their folders.
FORMATS: Mapping[str, Callable[[Place, bool], LabelFormat]] = {
    "coco": lambda place, video: CocoLabels(place),
    "yolo": lambda place, video: YoloLabels(place),
    "voc": lambda place, video: VocLabels(place),
    "csv": CsvLabels,
    "crops": lambda place, video: Crops(place),
    "labelstudio": lambda place, video: LabelStudioTasks(place),
    "cvat": lambda place, video: CvatLabels(place),
}
#: Of frames that are no files.
OF_VIDEOS = ("csv", "crops", "cvat")
#: Where a data set of the format has its images.
IMAGES_IN = {"coco": "images", "yolo": "images", "voc": "JPEGImages", "csv": ""}
#: A file for each image, by its name less the ending.
_BY_STEM = ("yolo", "voc")


def chosen_formats(
    save: Sequence[object], save_images: bool, source: ImageFiles | VideoFile, draw: bool
) -> tuple[str, ...]:
    """Return the formats that a user asks for, in the order of the words.

    Args:
        save: words of ``FORMATS``.
        save_images: whether the images are copied beside their labels.
        source: what is looked at.
        draw: whether drawings go into the same folder.

    Raises:
        UserError: for a word that is none, a format that the source has no files for, or names of
            images that it cannot hold.
    """
    chosen = tuple(dict.fromkeys(str(word) for word in save))
    for word in chosen:
        if word == "images":
            raise UserError("save=images: drawn images are what draw=true gives; leave it out")
        if word not in FORMATS:
            raise UserError(f"save={word}: give some of {', '.join(FORMATS)}")
    if save_images and not set(IMAGES_IN) & set(chosen):
        raise UserError(f"save_images=true: needs save= with one of {', '.join(IMAGES_IN)}")
    if isinstance(source, VideoFile):
        for word in chosen:
            if word not in OF_VIDEOS:
                raise UserError(
                    f"save={word} is about image files; of a video save {', '.join(OF_VIDEOS)}"
                )
        return chosen
    _check_names(source.names, chosen)
    if draw:
        folders = {PurePosixPath(name).parts[0].casefold() for name in source.names if "/" in name}
        if taken := sorted(folders & set(chosen)):
            raise UserError(
                f"save={taken[0]}: the source has a folder of this name, whose drawings would go "
                "there too; give draw=false, or rename it"
            )
    return chosen


def _check_names(names: Sequence[str], chosen: Sequence[str]) -> None:
    """Refuse names that a format cannot hold."""
    written = [word for word in chosen if word != "crops"]
    for name in names if written else ():
        if not is_text(name) or any(ord(letter) < 32 for letter in name):
            raise UserError(f"save={written[0]}: image name {shown(name)} is no text; rename it")
    of_stem: dict[str, str] = {}
    by_stem = [word for word in chosen if word in _BY_STEM]
    for name in names if by_stem else ():
        stem = str(PurePosixPath(name).with_suffix("")).casefold()
        if stem in of_stem:
            raise UserError(
                f"save={by_stem[0]}: {of_stem[stem]} and {name} would share a file of labels; "
                "rename one, or save coco or csv"
            )
        of_stem[stem] = name


class Labels:
    """All formats that were asked for.

    Args:
        formats: the writers by their words.
        folder: that theirs are in.
        save_images: whether the images are copied beside their labels.
    """

    def __init__(self, formats: Mapping[str, LabelFormat], folder: Path, save_images: bool) -> None:
        self._in_turn = [one for one in formats.values() if not isinstance(one, Crops)]
        self._crops = [one for one in formats.values() if isinstance(one, Crops)]
        self._copies = [
            folder / word / IMAGES_IN[word] for word in formats if save_images and word in IMAGES_IN
        ]
        self._formats = formats

    def write_files(self, found: Found) -> None:
        """Write what an image has for itself; may be called in any thread."""
        for one in self._crops:
            one.write(found)
        path = found.picture.path
        for folder in self._copies if path is not None else ():
            copy = folder / found.picture.name
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(str(path), copy)

    def write(self, found: Found) -> None:
        """Write the rest, image after image."""
        for one in self._in_turn:
            one.write(found)

    def remarks(self) -> Iterator[str]:
        """Yield what a user should know of the labels."""
        for word, one in self._formats.items():
            if one.left_out:
                why = "of less than a pixel, or of images that are read in pieces,"
                yield f"save={word}: {one.left_out} boxes {why} are left out"


@contextmanager
def open_labels(
    words: Iterable[str],
    folder: Path,
    classes: ClassList,
    source: str,
    model: str,
    video: bool,
    save_images: bool,
) -> Iterator[Labels]:
    """Make a folder for each format, and finish its files at the end.

    Args:
        words: of ``FORMATS``.
        folder: that the others go into.
        classes: of the detector.
        source: what the pictures are of, for tools that name tasks.
        model: the name that tools show of the detector.
        video: whether pictures are frames.
        save_images: whether the images are copied beside their labels.
    """
    with ExitStack() as stack:
        formats: dict[str, LabelFormat] = {}
        for word in words:
            own = folder / word
            own.mkdir()
            place = Place(own, classes, source, model)
            formats[word] = stack.enter_context(closing(FORMATS[word](place, video)))
        yield Labels(formats, folder, save_images)
