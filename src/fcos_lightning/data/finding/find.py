"""Which layout a folder has: each kind is looked for, and one of them has to fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from fcos_lightning.data.finding.coco import find_coco
from fcos_lightning.data.finding.labels_csv import find_csv
from fcos_lightning.data.finding.layout import AnyLayout
from fcos_lightning.data.finding.shards import find_shards
from fcos_lightning.data.finding.survey import Survey
from fcos_lightning.data.finding.voc import find_voc
from fcos_lightning.data.finding.yolo import find_yolo
from fcos_lightning.errors import UserError
from fcos_lightning.printing import some_of

#: Looked for whatever layout is asked for, as any may have been packed.
_SHARDS = "shards"

_FINDERS: dict[str, tuple[Callable[[Survey], list[AnyLayout]], str]] = {
    "coco": (find_coco, "COCO (a JSON with images, annotations and categories)"),
    "voc": (find_voc, "VOC (an XML file for each image)"),
    "yolo": (find_yolo, "YOLO (a text file for each image)"),
    "csv": (find_csv, "CSV (a table with filename, xmin, ymin, xmax, ymax, class)"),
    _SHARDS: (find_shards, "shards (a shards.json of fcos-pack)"),
}

FORMATS = tuple(_FINDERS)


def find_layout(root: Path, formats: Sequence[str] = FORMATS) -> AnyLayout:
    """Return the layout of a folder.

    Args:
        root: the folder.
        formats: which are looked for, besides shards.

    Raises:
        UserError: if none fits, or several do; it says what was looked for and what is there.
    """
    formats = list(dict.fromkeys((*formats, _SHARDS)))
    survey = Survey(root)
    found = [layout for one in formats for layout in _FINDERS[one][0](survey)]
    if not found:
        there = _in_words(survey)
        raise UserError(
            f"data.root={root}: no data set was found, {there}; docs/data.md shows the layouts; "
            "looked for",
            choices=[_FINDERS[one][1] for one in formats],
        )
    if len(found) > 1:
        if len(found) == 2:
            fit = "; ".join(f"{one.title} ({one.why})" for one in found)
        else:  # room for how to choose
            fit = some_of(list(dict.fromkeys(one.title.split(",")[0] for one in found)), room=100)
        names = list(dict.fromkeys(one.format for one in found))
        how = (
            " or ".join(f"data={name}" for name in names)
            + (", or data.root= of a folder below" if len(found) > 2 else "")
            if len(names) > 1
            else "data.root= of the folder below that holds one alone"
        )
        raise UserError(f"data.root={root}: {len(found)} layouts fit: {fit}; choose by {how}")
    return found[0]


def _in_words(survey: Survey) -> str:
    """Say what a folder holds in which no data set was found."""
    pictures = sum(len(folder.images) for folder in survey)
    if any(folder.files for folder in survey):
        seen = f"but {pictures} images and" if pictures else "nor an image, but"
        return f"{seen} {survey.contents()}"
    if len(survey.folders) > 1:
        return f"as there is no file in it, but {survey.contents()}"
    return "as the folder is empty"
