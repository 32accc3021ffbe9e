"""COCO detection annotations: what a file lists, checked against its image folder and itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fcos_lightning.data.coco_plain import PlainColumns, refuse
from fcos_lightning.data.coco_quick import Columns, read_quick
from fcos_lightning.data.files import Folder
from fcos_lightning.data.images import image_size
from fcos_lightning.data.index import DataSplit, FoundBoxes, build_split
from fcos_lightning.data.saved_index import SavedIndex
from fcos_lightning.errors import UserError

UNKNOWN_IMAGE = "of an image that is not listed"


def read_coco(
    annotation_file: Path,
    image_dir: Path,
    *,
    categories: Mapping[int, str] | None = None,
    strict: bool = False,
    cache: bool = True,
) -> DataSplit:
    """Read annotations in COCO's detection format.

    Annotations need ``bbox``, ``category_id`` and ``image_id``; images need ``id`` and
    ``file_name``. A missing ``area`` becomes width times height, a missing ``iscrowd`` 0, and a
    missing image size is read from the file. Annotation ids are not used, so they may repeat.
    Labels follow the category ids in ascending order, annotated or not.

    Args:
        annotation_file: the JSON.
        image_dir: folder that each ``file_name`` is relative to.
        categories: names by category id, from the training split; None takes the file's own.
        strict: refuse boxes that would otherwise be dropped and counted.
        cache: keep what was read of a large file in the user's cache folder, and take it from
            there while nothing has changed, see ``SavedIndex``.

    Raises:
        UserError: for anything that is not such a file, a missing or outside image file, or a
            category that is not listed. A ``null`` coordinate counts as NaN; any other
            coordinate that is not a number is refused, strict or not.
    """
    own = None if categories is None else sorted((int(i), name) for i, name in categories.items())
    saved = SavedIndex.of(annotation_file, image_dir, options=[own, strict]) if cache else None
    if saved and (split := saved.load()):
        return split
    listed = read_quick(annotation_file) or PlainColumns(annotation_file)
    names = _categories(listed, categories)
    image_ids = listed.image_ids
    if not len(image_ids):
        raise UserError(f"{annotation_file} lists no images")
    if not names:
        raise UserError(f"{annotation_file} has no categories: at least one class is needed")
    sorted_ids = np.sort(image_ids)
    twice = np.flatnonzero(sorted_ids[1:] == sorted_ids[:-1])
    if len(twice):
        raise UserError(f"{annotation_file}: image id {sorted_ids[twice[0]]} is listed twice")
    folder = Folder(image_dir)
    file_names = folder.find_all(listed.file_names, annotation_file)
    sizes_hw = listed.sizes_hw
    unsized = np.flatnonzero((sizes_hw == 0).any(axis=1))
    for row in unsized:
        sizes_hw[row] = image_size(folder.root / file_names[row])

    split = _build(listed, names, folder.root, image_ids, file_names, sizes_hw, strict)
    # Sizes that stand in the images themselves would need a look at each of them.
    if saved and not len(unsized):
        saved.save(split, folder.listed_ns)
    return split


def _build(
    listed: Columns | PlainColumns,
    names: Mapping[int, str],
    image_dir: Path,
    image_ids: NDArray[np.int64],
    file_names: Sequence[str],
    sizes_hw: NDArray[np.int64],
    strict: bool,
) -> DataSplit:
    """Join annotations to the images, ``[N]``, and the categories that they belong to."""
    annotated = listed.annotated
    image = _positions(image_ids, annotated)
    rows = np.flatnonzero(image >= 0)
    unlisted = len(annotated) - len(rows)
    if strict and unlisted:
        row = int(np.flatnonzero(image < 0)[0])
        raise UserError(
            f"{listed.file}: annotation id {listed.identity(row)} belongs to image "
            f"id {annotated[row]}, which is not listed under images"
        )
    found = FoundBoxes(
        image=image,
        xyxy=_xyxy(listed.boxes_xywh),
        labels=_labels(listed, sorted(names)),
        ignored=listed.ignored,
        areas_px=listed.areas_px,
    )
    if unlisted:
        found = found.take(rows)

    def where(row: int) -> str:
        return (
            f"{listed.file}: image {file_names[found.image[row]]!r}, annotation id "
            f"{listed.identity(rows[row])} (annotations[{rows[row]}])"
        )

    return build_split(
        name=listed.file.stem,
        image_dir=image_dir,
        image_ids=image_ids,
        file_names=file_names,
        sizes_hw=sizes_hw,
        boxes=found,
        class_names=[names[category] for category in sorted(names)],
        category_ids=sorted(names),
        where=where,
        strict=strict,
        dropped={UNKNOWN_IMAGE: unlisted} if unlisted else {},
    )


def _categories(
    listed: Columns | PlainColumns, given: Mapping[int, str] | None
) -> Mapping[int, str]:
    """Names by category id: those given, else the file's own."""
    entries = listed.categories
    if entries is None:
        if given is None:
            refuse(listed.file, "it has no list 'categories'")
        return given
    own: dict[int, str] = {}
    for category, name in entries:
        if category in own:
            raise UserError(f"{listed.file}: category id {category} is listed twice")
        own[category] = name
    if given is None:
        return own
    # A spelling may differ between files; the same names under other ids are a mix-up.
    given_ids = {name: category for category, name in given.items()}
    for category, name in own.items():
        if given.get(category, name) != name and given_ids.get(name, category) != category:
            raise UserError(
                f"{listed.file}: category id {category} is {name!r} here, but "
                f"{given[category]!r} in training, where {name!r} has id {given_ids[name]}"
            )
    return given


def _labels(listed: Columns | PlainColumns, category_ids: Sequence[int]) -> NDArray[np.int64]:
    """``[M]`` position of each annotation's category among the sorted ``category_ids``."""
    found = listed.annotated_categories
    labels = _positions(np.asarray(category_ids, dtype=np.int64), found)
    unknown = np.flatnonzero(labels < 0)
    if len(unknown):
        row = int(unknown[0])
        raise UserError(
            f"{listed.file}: annotation id {listed.identity(row)} has category id "
            f"{found[row]}, which is none of the {len(category_ids)} known categories"
        )
    return labels


def _positions(ids: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.int64]:
    """``[M]`` place of each wanted id among ``ids``, which are all different; -1 if it has none."""
    low, high = int(ids.min()), int(ids.max())
    inside = (wanted >= low) & (wanted <= high)
    if high - low < 8 * (len(ids) + len(wanted)):
        # A table, as searching a million ids takes ten times as long.
        places = np.full(high - low + 1, -1)
        places[ids - low] = np.arange(len(ids))
        return np.where(inside, places.take(np.where(inside, wanted - low, 0)), -1)
    order = np.argsort(ids)
    places = order.take(np.searchsorted(ids, wanted, sorter=order), mode="clip")
    return np.where(ids.take(places) == wanted, places, -1)


def _xyxy(boxes_xywh: NDArray[np.float64]) -> NDArray[np.float64]:
    """``[M, 4]`` corners from COCO's x, y, width, height."""
    xyxy: NDArray[np.float64] = boxes_xywh.copy()
    with np.errstate(over="ignore", invalid="ignore"):
        xyxy[:, 2:] += xyxy[:, :2]
    return xyxy
