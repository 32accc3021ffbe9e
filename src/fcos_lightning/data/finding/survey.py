"""A look at a folder and what lies below it: names alone, and of a bounded number of folders."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from fcos_lightning.data.images import IMAGE_ENDINGS
from fcos_lightning.errors import UserError
from fcos_lightning.printing import some_of

#: Folders below each other that are looked into: ``export/dataset/train/images`` is the third.
_DEEPEST = 4
#: A data set has a few; more are somebody's whole disk.
_MOST_FOLDERS = 5000
#: What systems and tools leave behind.
_NO_DATA = ("__MACOSX", "@eaDir", "__pycache__", "node_modules")


@dataclass(frozen=True)
class SeenFolder:
    """A folder and the names in it.

    Attributes:
        path: below the root, with ``/`` between folders; empty for the root itself.
        files: names, sorted.
    """

    path: str
    files: tuple[str, ...]

    @cached_property
    def images(self) -> tuple[str, ...]:
        """Names of its images, by their endings."""
        return self.ending(*IMAGE_ENDINGS)

    @cached_property
    def image_stems(self) -> frozenset[str]:
        """Those, less their endings."""
        return frozenset(os.path.splitext(name)[0] for name in self.images)

    def ending(self, *endings: str) -> tuple[str, ...]:
        """Return names with one of these endings, which are in lower case with their dots."""
        return tuple(name for name in self.files if os.path.splitext(name)[1].lower() in endings)

    def below(self, name: str) -> str:
        """Return the path of something in it."""
        return f"{self.path}/{name}" if self.path else name


class Survey:
    """What lies below a folder.

    Args:
        root: the folder.

    Raises:
        UserError: if it is no folder, or cannot be read.
    """

    def __init__(self, root: Path) -> None:
        if not os.path.isdir(root):
            kind = "is not a folder" if os.path.exists(root) else "does not exist"
            relative = "" if root.is_absolute() else f" (relative to {Path.cwd()})"
            raise UserError(f"data.root={root}: {kind}{relative}; give the folder of a data set")
        self.root = root
        self.folders: dict[str, SeenFolder] = {}
        pending = [("", 0)]
        while pending and len(self.folders) < _MOST_FOLDERS:
            path, depth = pending.pop(0)
            files, folders = _names_in(root / path, root, required=not path)
            self.folders[path] = seen = SeenFolder(path, tuple(sorted(files)))
            if depth < _DEEPEST:
                pending += [(seen.below(name), depth + 1) for name in sorted(folders)]

    def __iter__(self) -> Iterator[SeenFolder]:
        return iter(self.folders.values())

    def __contains__(self, path: str) -> bool:
        return path in self.folders

    def __getitem__(self, path: str) -> SeenFolder:
        return self.folders[path]

    def with_images(self) -> list[SeenFolder]:
        """Return the folders that hold images themselves."""
        return [folder for folder in self if folder.images]

    def inside(self, path: str) -> list[SeenFolder]:
        """Return a folder and those below it."""
        return [
            folder
            for folder in self
            if not path or folder.path == path or folder.path.startswith(f"{path}/")
        ]

    def same_path(self, path: str) -> str | None:
        """Return the folder that a path means, capitals aside; None if there is none."""
        if path in self.folders:
            return path
        return self._by_folded.get(path.casefold())

    @cached_property
    def _by_folded(self) -> dict[str, str]:
        return {path.casefold(): path for path in reversed(self.folders)}

    def contents(self) -> str:
        """Say in a few words what there is, for a message that it was none of what was sought."""
        endings = Counter(
            os.path.splitext(name)[1].lower() or "no ending"
            for folder in self
            for name in folder.files
        )
        if not endings:
            number = len(self.folders) - 1
            return f"{number} folder{'' if number == 1 else 's'} without a file"
        common = [f"{number} {ending}" for ending, number in endings.most_common(6)]
        more = ", ..." if len(endings) > len(common) else ""
        top = [path for path in self.folders if path and "/" not in path]
        names = some_of(top)
        below = f", in it and in its folders {names}" if top else ""
        return f"files ({', '.join(ending[:20] for ending in common)}{more}){below}"


def is_looked_into(name: str) -> bool:
    """Tell whether a file or folder of this name is worth a look."""
    return not name.startswith(".") and name not in _NO_DATA


def _names_in(path: Path, root: Path, required: bool) -> tuple[list[str], list[str]]:
    """Return the names of files and of folders that are worth a look."""
    files: list[str] = []
    folders: list[str] = []
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                if not is_looked_into(entry.name):
                    continue
                try:
                    if entry.is_dir():
                        folders.append(entry.name)
                    elif entry.is_file():  # a pipe would be waited for
                        files.append(entry.name)
                except OSError:  # a link that leads to itself
                    continue
    except OSError as error:
        if required:
            raise UserError(f"data.root={root}: cannot be read: {error.strerror}") from None
    return files, folders
