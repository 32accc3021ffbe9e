"""Text files of the YOLO family: with a data.yaml or without, beside the images or in labels/."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from fcos_lightning.data.files import Folder
from fcos_lightning.data.finding.layout import AnyLayout, ImageSet, Layout, Options
from fcos_lightning.data.finding.survey import Survey
from fcos_lightning.data.finding.usual_names import role_of_path
from fcos_lightning.data.finding.yolo_paths import images_at
from fcos_lightning.data.readers.values import number, spelt, whole
from fcos_lightning.data.readers.voc_layout import check_text
from fcos_lightning.data.readers.yolo import read_lines, read_yolo
from fcos_lightning.data.readers.yolo_yaml import DataYaml, read_data_yaml
from fcos_lightning.data.splits import Classes, DataSplit
from fcos_lightning.errors import UserError
from fcos_lightning.printing import some_of

#: Lists of classes, one a line: of LabelImg and Label Studio, CVAT, Roboflow's Darknet.
_NAME_FILES = ("classes.txt", "obj.names", "_darknet.labels", "labels.txt", "names.txt")
_HEAD_BYTES = 4096
_SAMPLES = 32


@dataclass(frozen=True)
class YoloSet(ImageSet):
    """The images of a set.

    Attributes:
        images: below the root.
    """

    images: tuple[str, ...]


@dataclass(frozen=True)
class YoloLayout(Layout[YoloSet]):
    """A text file for each image.

    Attributes:
        names: classes by their numbers, None where nothing says.
        names_in: the file that says.
        key_points: whether boxes are followed by key points.
        texts: files of labels by what ``_label_key`` makes of their images.
    """

    format: ClassVar[str] = "yolo"
    names: Mapping[int, str] | None = None
    names_in: str = ""
    key_points: bool = False
    texts: Mapping[str, str] = field(default_factory=dict)

    def read_set(self, one: YoloSet, classes: Classes | None, options: Options) -> DataSplit:
        """Read a set, see ``read``."""
        for image in one.images:
            check_text(image, self.root)
        labels = [self._label_of(image) for image in one.images]
        check_inside(self.root, one.images, "image")
        check_inside(self.root, [label for label in labels if label is not None], "label")
        own = classes is None
        if classes is None:
            classes = self._classes(options.class_names, labels)
        # As far down as all images lie.
        common = os.path.commonpath([os.path.dirname(image) or "." for image in one.images])
        base = "" if common in ("", ".") else f"{common}/"
        return read_yolo(
            self.root.resolve() / base,
            [image[len(base) :] for image in one.images],
            [None if label is None else self.root / label for label in labels],
            name=one.name,
            class_names=classes.names,
            category_ids=classes.category_ids,
            numbers=None if own else self._numbers(classes),
            key_points=self.key_points,
            strict=options.strict,
            headers=options.headers,
        )

    def texts_of(self, name: str) -> list[str]:
        """Return the text files of a set's images, of those that have one."""
        one = next(one for one in self.found if one.name == name)
        return [label for image in one.images if (label := self._label_of(image))]

    def is_label(self, text: str) -> bool:
        """Tell whether a text file is one of labels, rather than a list of names or a read-me."""
        name = text.rpartition("/")[2].lower()
        return name not in _NAME_FILES and _are_labels([self.root / text])

    def _label_of(self, image: str) -> str | None:
        return next((self.texts[key] for key in label_places(image) if key in self.texts), None)

    def _numbers(self, classes: Classes) -> dict[int, int]:
        """Return the label of each number in the files: by its name, where a file says it."""
        if self.names is None:
            return {number: label for label, number in enumerate(classes.category_ids)}
        label_of = {spelt(name): label for label, name in reversed([*enumerate(classes.names)])}
        named = {number: label_of.get(spelt(name)) for number, name in self.names.items()}
        return {number: label for number, label in named.items() if label is not None}

    def _classes(self, given: Sequence[str] | None, labels: Sequence[str | None]) -> Classes:
        """Return the classes: as the user gives them, as a file lists them, or as numbers."""
        if given is not None:
            ids = sorted(self.names) if self.names is not None else list(range(len(given)))
            if len(ids) != len(given):
                raise UserError(
                    f"data.class_names has {len(given)} names, but {self.root / self.names_in} "
                    f"lists {len(ids)} classes"
                )
            return Classes(tuple(given), tuple(ids))
        if self.names is not None:
            ids = sorted(self.names)
            return Classes(tuple(self.names[one] for one in ids), tuple(ids))
        highest = max((_highest(self.root / text) for text in labels if text), default=-1)
        if highest < 0:
            raise UserError(
                f"data.root={self.root}: nothing says which classes there are, and no text file "
                "has a box; add a classes.txt, one name a line"
            )
        if highest > 9999:
            raise UserError(
                f"data.root={self.root}: nothing says which classes there are, and the text files "
                f"go up to class {highest}; add a classes.txt, one name a line"
            )
        return Classes(tuple(map(str, range(highest + 1))), tuple(range(highest + 1)))


def find_yolo(survey: Survey) -> list[AnyLayout]:
    """Find text files of the YOLO family: one layout, of all sets that there are."""
    texts = _texts(survey)
    yaml_file, described = _data_yaml(survey)
    by_folder = _by_folder(survey, texts)
    if described is None and not by_folder:
        return []
    sets: dict[str, YoloSet] = {}
    if described is not None and yaml_file is not None:
        for name, paths in described.places.items():
            images = [
                image
                for path in paths
                for image in images_at(survey, yaml_file, described.base, path)
            ]
            if images:
                sets[name] = YoloSet(name, tuple(dict.fromkeys(images)))
    said = bool(sets)
    if not said:
        sets = {name: YoloSet(name, tuple(images)) for name, images in by_folder.items()}
    if not sets:
        return []
    if not any(
        key in texts for one in sets.values() for image in one.images for key in label_places(image)
    ):
        return []  # a data.yaml beside labels of another kind
    names, names_in = (
        (described.names, yaml_file) if described and described.names else (None, None)
    )
    if names is None:
        names, names_in = _listed_names(survey)
    where = (
        f"{yaml_file} with the sets {some_of(sets)}"
        if said
        else f"text files for the images of {some_of(list(sets))}"
    )
    named = f", names in {names_in}" if names_in and names_in != yaml_file else ""
    nothing = "" if names_in else ", no names of classes: their numbers are taken"
    return [
        YoloLayout(
            survey.root,
            _title(survey, yaml_file, names_in),
            f"{where}{named}{nothing}",
            tuple(sets.values()),
            names,
            names_in or "",
            described is not None and described.key_points,
            texts,
        )
    ]


def check_inside(root: Path, files: Sequence[str], kind: str) -> None:
    """Refuse files that are links which lead out of their folder.

    Raises:
        UserError: naming the first.
    """
    by_folder: dict[str, list[str]] = {}
    for file in files:
        folder, _, name = file.rpartition("/")
        by_folder.setdefault(folder, []).append(name)
    for folder, names in by_folder.items():
        Folder(root / folder, kind).find_all(names, root / folder)


def label_places(image: str) -> list[str]:
    """Where the text file of an image may be, less its ending: in labels/, or beside it."""
    stem = os.path.splitext(image)[0]
    parts = stem.split("/")
    places = []
    for place in range(len(parts) - 2, -1, -1):
        if parts[place].lower() in ("images", "jpegimages", "imgs", "img", "image"):
            for kind in ("labels", "label", "annotations", "yolo"):
                places.append("/".join([*parts[:place], kind, *parts[place + 1 :]]))
            break
    beside = "/".join([*parts[:-1], "labels", parts[-1]])
    return [*places, stem, beside]


def _texts(survey: Survey) -> dict[str, str]:
    """Text files by their path less the ending, the folder ``labels`` in small letters."""
    texts = {}
    for folder in survey:
        parts = [
            part.lower() if part.lower() == "labels" else part for part in folder.path.split("/")
        ]
        place = "/".join(parts)
        for name in folder.ending(".txt"):
            stem = os.path.splitext(name)[0]
            texts[f"{place}/{stem}" if place else stem] = folder.below(name)
    return texts


def _by_folder(survey: Survey, texts: Mapping[str, str]) -> dict[str, list[str]]:
    """Images by the name of their set, of all folders whose images have text files."""
    sets: dict[str, list[str]] = {}
    for folder in survey.with_images():
        images = [folder.below(name) for name in folder.images]
        own = [texts[key] for image in images for key in label_places(image) if key in texts]
        if own and _are_labels([survey.root / text for text in own[:_SAMPLES]]):
            name = role_of_path(folder.path) or "all"
            sets.setdefault(name, []).extend(images)
    return sets


def _are_labels(files: Sequence[Path]) -> bool:
    """Tell by the first lines of most; files that are all empty may be labels of no objects.

    One that is something else is for the reader to name.
    """
    like, unlike = 0, 0
    for file in files:
        try:
            with file.open("rb") as opened:
                head = opened.read(_HEAD_BYTES).decode("utf-8-sig", "replace")
        except OSError:
            continue
        words = next((line.split() for line in head.splitlines() if line.split()), None)
        if words is not None:
            numbers = len(words) >= 5 and all(number(word) is not None for word in words[1:5])
            like += numbers and whole(words[0]) is not None
            unlike += not numbers
    return like >= unlike


def _data_yaml(survey: Survey) -> tuple[str | None, DataYaml | None]:
    """Return the first file that describes sets, that of the folder itself before others."""
    for folder in sorted(survey, key=lambda one: one.path.count("/") + bool(one.path)):
        if folder.path.count("/") > 0:
            break
        names = folder.ending(".yaml", ".yml")[:_SAMPLES]
        for name in sorted(names, key=lambda one: one.lower() not in ("data.yaml", "dataset.yaml")):
            described = read_data_yaml(survey.root / folder.below(name))
            if described is not None:
                return folder.below(name), described
    return None, None


def _listed_names(survey: Survey) -> tuple[dict[int, str] | None, str | None]:
    """Return the names of the classes, and the file that lists them, one a line."""
    places = [
        folder.below(name)
        for folder in sorted(
            survey, key=lambda one: (one.path.count("/") + bool(one.path), one.path)
        )
        for name in folder.files
        if name.lower() in _NAME_FILES or name.lower().endswith(".names")
    ]
    for place in places:
        names = [" ".join(line.split()) for line in read_lines(survey.root / place)]
        while names and not names[-1]:
            names.pop()
        if names and all(names):
            return dict(enumerate(names)), place
    return None, None


def _highest(file: Path) -> int:
    """Return the highest class of a file, or -1."""
    words = (line.split()[:1] for line in read_lines(file))
    numbers = (whole(first[0]) for first in words if first)
    return max((one for one in numbers if one is not None), default=-1)


def _title(survey: Survey, yaml_file: str | None, names_in: str | None) -> str:
    root = survey[""].files
    if "obj.data" in root or any(name == "obj.names" for name in root):
        return "YOLO text, CVAT's export"
    if "notes.json" in root:
        return "YOLO text, Label Studio's export"
    if any("roboflow" in name.lower() for name in root):
        return "YOLO text, Roboflow's export"
    if names_in and names_in.endswith("_darknet.labels"):
        return "YOLO text, Roboflow's export for Darknet"
    return "YOLO text with a data.yaml" if yaml_file else "YOLO text"
