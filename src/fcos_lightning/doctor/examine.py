"""A data set from its splits to a diagnosis: read, look at files, ask every check."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from fcos_lightning.data.complaints import hearing
from fcos_lightning.data.finding.usual_names import Role
from fcos_lightning.data.finding.yolo import YoloLayout
from fcos_lightning.data.found import AutoDataModule
from fcos_lightning.data.splits import Classes, DataSplit
from fcos_lightning.data.splits.split_reader import SplitReader
from fcos_lightning.doctor.check import Check, Examined, ExaminedSet
from fcos_lightning.doctor.checks import (
    annotated,
    boxes,
    classes,
    copies,
    files,
    images,
    labels,
    learnable,
    stored,
)
from fcos_lightning.doctor.findings import SEVERITIES, Kind
from fcos_lightning.doctor.image_facts import look_at_images
from fcos_lightning.doctor.learning import Learning, learnt, sample

#: All checks, in the order in which what they find is told.
CHECKS: tuple[Check, ...] = (
    images.MissingImage(),
    images.EmptyFile(),
    images.UnreadableImage(),
    images.TooLarge(),
    images.OtherSize(),
    annotated.UnreadableAnnotation(),
    annotated.UnknownClass(),
    classes.OffByOne(),
    stored.OtherOrder(),
    stored.InFractions(),
    stored.InPixels(),
    copies.SharedImage(),
    copies.NearSharedImage(),
    images.TurnedImage(),
    images.WrongEnding(),
    images.BlankImage(),
    copies.DuplicateImage(),
    files.UnusedImage(),
    files.AnnotationAlone(),
    annotated.NoBox(),
    annotated.UnlistedImage(),
    annotated.NotFinite(),
    annotated.TooFar(),
    annotated.NoArea(),
    annotated.Outside(),
    boxes.TinyBox(),
    boxes.SticksOut(),
    boxes.DuplicateBox(),
    boxes.BoxOfTwoClasses(),
    learnable.TooSmall(),
    learnable.CrowdedOut(),
    labels.MissedLabel(),
    labels.MisplacedLabel(),
    labels.SwappedLabel(),
    classes.NothingToLearn(),
    classes.UnusedClass(),
    classes.NotLearnt(),
    classes.ClassShift(),
    classes.SameName(),
    copies.NearDuplicateImage(),
    boxes.WholeImage(),
    images.NoObjects(),
    classes.RareClass(),
    annotated.Remark(),
)

#: So many images are looked at to tell which boxes can be learnt.
MOST_ASSIGNED = 2000


def read_sets(data: SplitReader, of: Classes | None = None) -> Examined:
    """Read the sets of a data module, and keep what its readers complain of.

    Args:
        data: it is asked for its splits; nothing of it has been read before.
        of: the classes of a checkpoint; None: those of the training set.

    Raises:
        UserError: if a set cannot be read at all.
    """
    data.choose_splits()
    roles: tuple[tuple[Role, str | None], ...] = (
        ("train", data.train_split),
        ("val", data.val_split),
        ("test", data.test_split),
    )
    sets: list[ExaminedSet] = []
    for role, name in roles:
        if name is None:
            continue
        with hearing() as heard:
            split = data.read(name, of)
        if isinstance(data, AutoDataModule):
            heard = heard.told(data.told)
        sets.append(ExaminedSet(role, split, heard))
        of = of or split.classes
    if not isinstance(data, AutoDataModule):
        return Examined(sets, max_pixels=data.max_pixels)
    return Examined(
        sets,
        root=None if data.place.remote and data.is_packed else data.folder,
        address=data.place.text if data.place.remote else "",
        format=data.formats[0] if len(data.formats) == 1 else data.layout.format,
        max_pixels=data.max_pixels,
        alone=_texts_alone(data),
    )


def bytes_afar(data: Examined) -> int:
    """Return how many bytes of images lie on object storage, all of which will be read."""
    stores = (one.split.images for one in data.sets)
    return sum(store.bytes_afar() for store in stores)


def look_at_files(data: Examined, advance: Callable[[], None]) -> Examined:
    """Look at each image file.

    Args:
        data: whose sets were read.
        advance: called after each image.
    """
    sets = [
        replace(one, facts=look_at_images(one.split, data.max_pixels, advance)) for one in data.sets
    ]
    return replace(data, sets=sets)


def assign(data: Examined, how: Learning) -> Examined:
    """Tell which boxes of the training set can be learnt, of some of its images at least."""
    split = data.train.split
    return replace(data, learnt=learnt(split, how, sample(split, MOST_ASSIGNED)))


def found(data: Examined, checks: Sequence[Check] = CHECKS) -> list[Kind]:
    """Ask every check, and return what was found, errors first."""
    kinds = [Kind.of(check, check(data)) for check in checks]
    return sorted(
        (kind for kind in kinds if kind.count), key=lambda kind: SEVERITIES.index(kind.severity)
    )


def found_for_free(splits: Sequence[tuple[Role, DataSplit]]) -> list[Kind]:
    """Ask those checks that cost nothing about splits that are read already.

    Args:
        splits: the training set first.
    """
    data = Examined([ExaminedSet(role, split) for role, split in splits])
    return found(data, [check for check in CHECKS if check.free])


def _texts_alone(data: AutoDataModule) -> list[str]:
    """Return text files of labels that are no image's, beside such as are."""
    layout: object = data.layout if len(data.formats) > 1 or "yolo" in data.formats else None
    return list(_unused(layout)) if isinstance(layout, YoloLayout) else []


def _unused(layout: YoloLayout) -> Iterator[str]:
    used = {text for name in layout.sets for text in layout.texts_of(name)}
    folders = {Path(text).parent for text in used}
    for text in sorted(set(layout.texts.values()) - used):
        if Path(text).parent in folders and layout.is_label(text):
            yield str(layout.root / text)
