"""A layout of files that was found in a folder, and how its sets of images are read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, TypeAlias, TypeVar

from fcos_lightning.data.finding.image_folders import ImageFolder
from fcos_lightning.data.readers.headers import Headers, headers_of_files
from fcos_lightning.data.splits import Classes, DataSplit
from fcos_lightning.errors import UserError
from fcos_lightning.printing import some_of


@dataclass(frozen=True)
class Options:
    """How annotations are read, whatever their layout.

    Attributes:
        strict: refuse boxes that would otherwise be dropped and counted.
        class_names: the classes in the order of their labels, as the user gives them.
        cache: see ``read_coco``.
        leave_out_parents: see ``read_coco``.
        cache_bytes: of shards from object storage that are kept on this machine.
        headers: reads the sizes of images that annotations do not state.
    """

    strict: bool = False
    class_names: tuple[str, ...] | None = None
    cache: bool = True
    leave_out_parents: bool = False
    cache_bytes: int = 0
    headers: Headers = headers_of_files


@dataclass(frozen=True)
class ImageSet:
    """A set of images; layouts add where its files lie.

    Attributes:
        name: of the set.
    """

    name: str


@dataclass(frozen=True)
class ListedSet(ImageSet):
    """A set whose annotations are one file.

    Attributes:
        file: of annotations, below the root.
        images: where its images lie.
    """

    file: str
    images: ImageFolder


SetT = TypeVar("SetT", bound=ImageSet)


@dataclass(frozen=True)
class Layout(ABC, Generic[SetT]):
    """What was found.

    Attributes:
        root: the folder.
        title: what it is, as ``COCO, Roboflow's export``.
        why: which files say so.
        found: the sets of images.
    """

    format: ClassVar[str]

    root: Path
    title: str
    why: str
    found: tuple[SetT, ...] = ()

    @property
    def protocol(self) -> Literal["coco", "voc"]:
        """Which figures such data are judged by, see ``SplitReader``."""
        return "coco"

    @property
    def where(self) -> str:
        """The folder, for messages."""
        return str(self.root)

    @property
    def sets(self) -> Sequence[str]:
        """Names of the sets of images."""
        return [one.name for one in self.found]

    def read(self, name: str, classes: Classes | None, options: Options) -> DataSplit:
        """Read a set.

        Args:
            name: one of ``sets``, capitals aside.
            classes: those of another set or of a checkpoint; None: its own.
            options: how.

        Raises:
            UserError: if something is missing or wrong.
        """
        return self.read_set(self.called(name), classes, options)

    @abstractmethod
    def read_set(self, one: SetT, classes: Classes | None, options: Options) -> DataSplit:
        """Read one of ``found``, see ``read``."""

    def called(self, name: str) -> SetT:
        """Return the set that a name means, capitals aside.

        Raises:
            UserError: if there is none.
        """
        same = [one for one in self.found if one.name == name]
        if same:
            return same[0]
        alike = [one for one in self.found if one.name.casefold() == name.casefold()]
        if len(alike) == 1:
            return alike[0]
        there = some_of(self.sets, 12)
        raise UserError(
            f"data.root={self.where} has no set of images called {name}; there "
            + (f"are {there}" if len(self.sets) != 1 else f"is only {there}")
        )


#: A layout of whatever kind of sets.
AnyLayout: TypeAlias = Layout[Any]


def named_categories(classes: Classes | None) -> dict[int, str] | None:
    """Return names by category id, in the order of the labels."""
    if classes is None:
        return None
    return dict(zip(classes.category_ids, classes.names, strict=True))
