"""Tables of boxes: one for each set, or one for all images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fcos_lightning.data.finding.image_folders import image_folder
from fcos_lightning.data.finding.layout import AnyLayout, Layout, ListedSet, Options
from fcos_lightning.data.finding.survey import SeenFolder, Survey
from fcos_lightning.data.finding.usual_names import role_of, role_of_path
from fcos_lightning.data.readers.labels_csv import look_at, read_csv
from fcos_lightning.data.splits import Classes, DataSplit
from fcos_lightning.printing import some_of

#: A folder with more tables than this holds something else.
_MOST_FILES = 32
_SAMPLES = 8


@dataclass(frozen=True)
class CsvLayout(Layout[ListedSet]):
    """Tables of boxes."""

    format: ClassVar[str] = "csv"

    def read_set(self, one: ListedSet, classes: Classes | None, options: Options) -> DataSplit:
        """Read a set; a table has no numbers of classes, so that names alone count."""
        return read_csv(
            self.root / one.file,
            self.root / one.images.path,
            name=one.name,
            class_names=options.class_names if classes is None else classes.names,
            category_ids=None if classes is None else classes.category_ids,
            by_last_name=one.images.by_last_name,
            strict=options.strict,
            headers=options.headers,
        )


def find_csv(survey: Survey) -> list[AnyLayout]:
    """Find tables of boxes: one layout, of all of them."""
    found: list[tuple[SeenFolder, str, tuple[str, ...]]] = []
    for folder in survey:
        for name in folder.ending(".csv", ".tsv")[:_MOST_FILES]:
            table = look_at(survey.root / folder.below(name))
            if table is not None:
                found.append((folder, name, table.files[:_SAMPLES]))
    if not found:
        return []
    sets: dict[str, ListedSet] = {}
    for folder, file, names in found:
        stem = file[:-4]
        name = next(
            (one for one in (stem, role_of_path(folder.path)) if one and role_of(one)), stem
        )
        if len(found) == 1 and not role_of(name):
            name = "all"
        if name in sets:
            name = folder.below(stem)
        parent = folder.path.rpartition("/")[0]
        wanted = [folder.path]
        for start in dict.fromkeys((folder.path, parent, "")):
            begin = f"{start}/" if start else ""
            wanted += [
                f"{begin}{one}" for one in (name, f"images/{name}", "images", "imgs", "data")
            ]
            wanted.append(start)
        images = image_folder(survey, names, wanted, folder.path, name)
        sets[name] = ListedSet(name, folder.below(file), images)
    files = [one.file for one in sets.values()]
    export = all(file.endswith("_annotations.csv") for file in files)
    title = "a table of boxes" + (", Roboflow's export" if export else "")
    places = dict.fromkeys(one.images.path or "the folder itself" for one in sets.values())
    why = f"{some_of(files)} with images in {some_of(list(places))}"
    return [CsvLayout(survey.root, title, why, tuple(sets.values()))]
