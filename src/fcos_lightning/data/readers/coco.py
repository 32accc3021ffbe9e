"""COCO detection annotations: what a file lists, checked against its image folder and itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fcos_lightning.data.complaints import unknown_class
from fcos_lightning.data.files import Folder
from fcos_lightning.data.readers.coco_checked import PlainColumns, refuse
from fcos_lightning.data.readers.coco_quick import Columns, read_quick
from fcos_lightning.data.readers.headers import Headers, headers_of_files
from fcos_lightning.data.readers.values import spelt
from fcos_lightning.data.splits import NO_BOX, DataSplit, FoundBoxes, build_split
from fcos_lightning.data.splits.saved_index import SavedIndex
from fcos_lightning.errors import UserError, shown

UNKNOWN_IMAGE = "of an image that is not listed"


def read_coco(
    annotation_file: Path,
    image_dir: Path,
    *,
    categories: Mapping[int, str] | None = None,
    strict: bool = False,
    cache: bool = True,
    leave_out_parents: bool = False,
    by_last_name: bool = False,
    headers: Headers = headers_of_files,
) -> DataSplit:
    """Read annotations in COCO's detection format.

    Annotations need ``bbox``, ``category_id`` and ``image_id``; images need ``id`` and
    ``file_name``. A missing ``area`` becomes width times height, a missing ``iscrowd`` 0, and a
    missing image size is read from the file. Annotation ids are not used, so they may repeat.
    Labels follow the category ids in ascending order, annotated or not.

    What tools write otherwise and what can mean one thing only is read as well: numbers in
    quotes, ``iscrowd`` as a word, a backslash as the separator of folders. An entry without a
    ``bbox`` is dropped and counted. A file without the list ``annotations``, as that of a test
    set, gives a split that is not ``annotated``.

    Args:
        annotation_file: the JSON.
        image_dir: folder that each ``file_name`` is relative to.
        categories: names by category id in the order of their labels, from the training split or
            a checkpoint; None takes the file's own, in the order of their ids.
        strict: refuse boxes that would otherwise be dropped and counted.
        cache: keep what was read of a large file in the user's cache folder, and take it from
            there while nothing has changed, see ``SavedIndex``.
        leave_out_parents: a category that others name as their ``supercategory`` is no class if
            no box has it, as the root that Roboflow adds; it is said. Not with ``categories``.
        by_last_name: of each ``file_name`` the part behind the last separator counts.
        headers: reads the sizes of images that the file does not state.

    Raises:
        UserError: for anything that is not such a file, a missing or outside image file, or a
            category that is not listed. A ``null`` coordinate counts as NaN; any other
            coordinate that is not a number is refused, strict or not.
    """
    own = None if categories is None else [(int(i), name) for i, name in categories.items()]
    saved = (
        SavedIndex.of(
            annotation_file, image_dir, options=[own, strict, leave_out_parents, by_last_name]
        )
        if cache
        else None
    )
    if saved and (split := saved.load()):
        return split
    listed = read_quick(annotation_file) or PlainColumns(annotation_file)
    names = _categories(listed, categories)
    if not len(listed.image_ids):
        raise UserError(f"{annotation_file} lists no images")
    if not names:
        raise UserError(f"{annotation_file} has no categories: at least one class is needed")
    images, remarks = _images(listed, Folder(image_dir), by_last_name)
    if leave_out_parents and categories is None:
        names, said = _without_parents(listed, names)
        remarks += said
    unsized = np.flatnonzero((images.sizes_hw == 0).any(axis=1))
    names_unsized = [images.file_names[row] for row in unsized]
    frames = headers(images.folder.root, names_unsized, oriented=False)
    for row, (size_hw, _) in zip(unsized, frames, strict=True):
        images.sizes_hw[row] = size_hw

    split = _build(listed, names, images, remarks, strict)
    # Sizes that stand in the images themselves would need a look at each of them.
    if saved and not len(unsized):
        saved.save(split, images.folder.listed_ns)
    return split


@dataclass(frozen=True, eq=False)
class _Images:
    """The listed images, each once.

    Attributes:
        folder: where they lie.
        ids: ``[N]``.
        file_names: ``[N]``, as found in the folder.
        sizes_hw: ``[N, 2]`` pixels, both zero where the file does not state both.
    """

    folder: Folder
    ids: NDArray[np.int64]
    file_names: list[str]
    sizes_hw: NDArray[np.int64]


def _images(
    listed: Columns | PlainColumns, folder: Folder, by_last_name: bool
) -> tuple[_Images, list[str]]:
    """Find the image files, and say what is odd about their list."""
    ids, names, sizes_hw = listed.image_ids, listed.file_names, listed.sizes_hw
    remarks = []
    if by_last_name:
        names = [name.replace("\\", "/").rsplit("/", 1)[-1] for name in names]
        remarks.append("file names are paths of another place; their last parts are taken")
    _, first = np.unique(ids, return_index=True)
    if len(first) < len(ids):
        first.sort()
        known = dict(zip(ids[first].tolist(), first.tolist(), strict=True))
        for row, image_id in enumerate(ids.tolist()):
            if names[row] != names[known[image_id]]:
                raise UserError(
                    f"{listed.file}: image id {image_id} is listed twice, as "
                    f"{shown(names[known[image_id]])} and as {shown(names[row])}"
                )
        remarks.append(f"{len(ids) - len(first)} images are listed twice; they are taken once")
        ids, sizes_hw, names = ids[first], sizes_hw[first], [names[row] for row in first.tolist()]
    found = folder.find_all(names, listed.file)
    if (again := len(found) - len(set(found))) > 0:
        remarks.append(f"{again} images are files that another image id has too; all are kept")
    return _Images(folder, ids, found, sizes_hw), remarks


def _build(
    listed: Columns | PlainColumns,
    names: Mapping[int, str],
    images: _Images,
    remarks: list[str],
    strict: bool,
) -> DataSplit:
    """Join annotations to the images and the categories that they belong to."""
    annotated, boxless = listed.annotated, listed.boxless
    image = _positions(images.ids, annotated)
    rows = np.flatnonzero((image >= 0) & ~boxless)
    unlisted = int((image < 0).sum())
    lacking = len(annotated) - len(rows) - unlisted
    if strict and unlisted:
        row = int(np.flatnonzero(image < 0)[0])
        raise UserError(
            f"{listed.file}: annotation id {listed.identity(row)} belongs to image "
            f"id {annotated[row]}, which is not listed under images"
        )
    if strict and lacking:
        row = int(np.flatnonzero(boxless)[0])
        raise UserError(
            f"{listed.file}: annotation id {listed.identity(row)} (annotations[{row}]) has no "
            "bbox: add it, or set strict to false to drop such entries"
        )
    labels = _labels(listed, list(names))
    rows = rows[labels[rows] >= 0]
    found = FoundBoxes(
        image=image,
        xyxy=_xyxy(listed.boxes_xywh),
        labels=labels,
        ignored=listed.ignored,
        areas_px=listed.areas_px,
    )
    if len(rows) < len(annotated):
        found = found.take(rows)

    def where(row: int) -> str:
        return (
            f"{listed.file}: image {shown(images.file_names[found.image[row]])}, annotation id "
            f"{listed.identity(rows[row])} (annotations[{rows[row]}])"
        )

    return build_split(
        name=listed.file.stem,
        image_dir=images.folder.root,
        image_ids=images.ids,
        file_names=images.file_names,
        sizes_hw=images.sizes_hw,
        boxes=found,
        class_names=list(names.values()),
        category_ids=list(names),
        where=where,
        strict=strict,
        dropped={
            reason: number
            for reason, number in ((UNKNOWN_IMAGE, unlisted), (NO_BOX, lacking))
            if number
        },
        remarks=remarks,
        annotated=listed.has_annotations,
        sides_stated=True,
    )


def _categories(
    listed: Columns | PlainColumns, given: Mapping[int, str] | None
) -> Mapping[int, str]:
    """Names by category id in the order of their labels: as given, else the file's own by id."""
    entries = listed.categories
    if entries is None:
        if given is None:
            refuse(listed.file, "it has no list 'categories'")
        return given
    own: dict[int, str] = {}
    for category, name in entries:
        if own.setdefault(category, name) != name:
            raise UserError(
                f"{listed.file}: category id {category} is listed twice, as {shown(own[category])} "
                f"and as {shown(name)}"
            )
    if given is None:
        return dict(sorted(own.items()))
    # A spelling may differ between files; another name under the same id is a mix-up.
    for category, name in own.items():
        if category in given and spelt(given[category]) != spelt(name):
            raise UserError(
                f"{listed.file}: category id {category} is {shown(name)} here, but "
                f"{shown(given[category])} in training: give a class the same id and name in both"
            )
    return given


def _without_parents(
    listed: Columns | PlainColumns, names: Mapping[int, str]
) -> tuple[Mapping[int, str], list[str]]:
    """Leave out categories that are parents of others and that no box has."""
    called = {parent for child, parent in listed.parents if parent != names[child]}
    used = set(np.unique(listed.annotated_categories[~listed.boxless]).tolist())
    out = {one: name for one, name in names.items() if name in called and one not in used}
    if not out or len(out) == len(names):
        return names, []
    kept = {one: name for one, name in names.items() if one not in out}
    return kept, [
        f"the category {shown(name)} is the parent of others and has no boxes; it is left out"
        for name in out.values()
    ]


def _labels(listed: Columns | PlainColumns, category_ids: Sequence[int]) -> NDArray[np.int64]:
    """``[M]`` position of each annotation's category among ``category_ids``; -1 if it has none."""
    found = listed.annotated_categories
    labels = _positions(np.asarray(category_ids, dtype=np.int64), found)
    for row in np.flatnonzero(labels < 0).tolist():
        error = UserError(
            f"{listed.file}: annotation id {listed.identity(row)} has category id "
            f"{found[row]}, which is none of the {len(category_ids)} known categories"
        )
        unknown_class(error, found[row], listed.file, f"annotation id {listed.identity(row)}")
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
