"""Which files may say what is on images: the others of a data set are not opened to find out."""

from __future__ import annotations

from fcos_lightning.data.finding.coco import candidates
from fcos_lightning.data.finding.survey import SeenFolder, is_looked_into

#: Lists and tables, labels and descriptions, but for COCO's.
_ENDINGS = (".xml", ".txt", ".csv", ".tsv", ".yaml", ".yml", ".names", ".labels", ".data")


def annotation_files(folder: SeenFolder) -> list[str]:
    """Return the names of those of a folder that finders and readers may open."""
    if not all(is_looked_into(part) for part in folder.path.split("/") if part):
        return []
    names = [*candidates(folder), *folder.ending(*_ENDINGS)]
    return [name for name in names if is_looked_into(name)]
