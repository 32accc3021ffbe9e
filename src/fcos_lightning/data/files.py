"""Finding the files that annotations name, without leaving their folder."""

from __future__ import annotations

import errno
import os
import unicodedata
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import cached_property
from itertools import chain
from pathlib import Path

from fcos_lightning.data.complaints import unusable
from fcos_lightning.errors import UserError, shown


class OutsideFolder(ValueError):
    """A name leads out of the folder."""


#: What a link leads to that leads nowhere, or to itself.
_NO_SUCH_PLACE = (errno.ENOENT, errno.ELOOP, errno.ENAMETOOLONG)


class _Listing:
    """What lies directly in a folder; nothing where ``path`` is a file, or None.

    Attributes:
        plain_files: names of files that are no links.
        others: everything else.
    """

    def __init__(self, path: Path | None) -> None:
        self.plain_files: set[str] = set()
        self.others: dict[str, os.DirEntry[str]] = {}
        if path is None:
            return
        with suppress(NotADirectoryError), os.scandir(path) as entries:
            for entry in entries:
                if entry.is_file(follow_symlinks=False):
                    self.plain_files.add(entry.name)
                else:
                    self.others[entry.name] = entry

    def __contains__(self, name: str) -> bool:
        return name in self.plain_files or name in self.others

    @cached_property
    def by_nfc(self) -> dict[str, str]:
        """The names by their NFC form."""
        names = sorted(chain(self.plain_files, self.others))
        return {unicodedata.normalize("NFC", name): name for name in names}


class Folder:
    """A folder whose listings are read once, so that 118,000 names are found in a second.

    Args:
        root: the folder; every name is taken below it.
        kind: what lies in it, for messages.

    Raises:
        UserError: if ``root`` is no folder.
    """

    def __init__(self, root: Path, kind: str = "image") -> None:
        if not root.is_dir():
            raise UserError(f"{kind} folder {root} does not exist or is not a folder")
        self.root = root.resolve()
        self.kind = kind
        #: When each folder that was listed had last changed before, in nanoseconds, by its name.
        self.listed_ns: dict[str, int] = {}
        self._listings: dict[str, _Listing] = {}
        self._plain_files: dict[str, set[str]] = {}
        self._by_stem: dict[tuple[str, tuple[str, ...]], dict[str, str]] = {}

    def find(self, name: str) -> str | None:
        """Find a file by the name an annotation gives it.

        Args:
            name: relative to the folder; Unicode may be composed (NFC) or decomposed (NFD), and
                a backslash separates folders where no file has it in its name.

        Returns:
            The name as found on disk, relative to the folder, or None if there is no such file.

        Raises:
            OutsideFolder: if the name, links resolved, leads out of the folder.
        """
        found = self._find(name)
        if found is None and "\\" in name:
            return self._find(name.replace("\\", "/"))
        return found

    def _find(self, name: str) -> str | None:
        end = name.rfind("/") + 1
        if name[end:] in self._plain_files.get(name[:end], ()):
            return name
        if "\0" in name:
            return None
        found, is_file = self._walk(name)
        if found == name and is_file:
            # Further names of this folder lead through the same folders, all inside.
            self._plain_files[name[:end]] = self._list(name[: max(end - 1, 0)]).plain_files
        return found if is_file else None

    def _walk(self, name: str) -> tuple[str | None, bool]:
        """Return what a name leads to, as found on disk, or None; and whether that is a file."""
        parts = name.split("/")
        if ".." in parts or os.path.isabs(name):
            parts = self._inside(name).split(os.sep)
        found = ""
        is_file = False
        for part in parts:
            if part in ("", "."):
                continue
            listing = self._list(found)
            if part not in listing:
                # The name differs, or only its normalisation does.
                part = listing.by_nfc.get(unicodedata.normalize("NFC", part), "")
                if not part:
                    return None, False
            found = os.path.join(found, part)
            is_file = part in listing.plain_files
            if not is_file:
                entry = listing.others[part]
                with suppress(OSError):  # a link that leads to itself
                    is_file = entry.is_file()
                if entry.is_symlink():
                    self._inside(found)
        return found, is_file

    def find_all(self, names: Iterable[str], source: Path) -> list[str]:
        """Find every file that ``source`` names.

        Returns:
            The names as found on disk, in the given order.

        Raises:
            UserError: if a name leads out of the folder, or any file is missing: then it names
                the first and says how many.
        """
        found: list[str] = []
        missing: list[str] = []
        plain_files = self._list("").plain_files
        for name in names:
            if name in plain_files:
                found.append(name)
                continue
            try:
                on_disk = self.find(name)
            except OutsideFolder:
                raise UserError(
                    f"{source}: file name {shown(name)} leads outside the {self.kind} folder "
                    f"{self.root}: correct it"
                ) from None
            if on_disk is None:
                missing.append(name)
            found.append(name if on_disk is None else on_disk)
        if missing:
            unusable(
                UserError(
                    f"{source}: {len(missing)} of {len(found)} {self.kind} files are not in "
                    f"{self.root}, the first is {shown(missing[0])}: is this the right folder?"
                )
            )
        return found

    def by_stem(self, endings: tuple[str, ...], below: str = "") -> Mapping[str, str]:
        """Map the files directly in a folder from their NFC names less the ending.

        Args:
            endings: lower-case endings with their dots, the preferred one first.
            below: which folder, as an annotation names it; empty: this one.

        Returns:
            Names relative to this folder, as on disk; none where there is no such folder.

        Raises:
            OutsideFolder: if ``below`` leads out of this folder.
        """
        known = self._by_stem.get((below, endings))
        if known is not None:
            return known
        by_stem: dict[str, str] = {}
        folder = None if "\0" in below else self._walk(below)[0]
        names = {} if folder is None else self._list(folder).by_nfc
        for ending in endings:
            for nfc, name in names.items():
                stem, own_ending = os.path.splitext(nfc)
                if own_ending.lower() == ending:
                    by_stem.setdefault(stem, os.path.join(folder or "", name))
        self._by_stem[below, endings] = by_stem
        return by_stem

    def _list(self, folder: str) -> _Listing:
        if folder not in self._listings:
            path = self.root / folder
            try:
                self.listed_ns[folder] = path.stat().st_mtime_ns
                self._listings[folder] = _Listing(path)
            except OSError as error:
                if error.errno not in _NO_SUCH_PLACE:
                    raise UserError(f"cannot list {path}: {error.strerror}") from None
                self._listings[folder] = _Listing(None)
        return self._listings[folder]

    def _inside(self, name: str) -> str:
        """Resolve ``name`` and return it relative to the folder."""
        resolved = Path(os.path.realpath(self.root / name))
        if not resolved.is_relative_to(self.root):
            raise OutsideFolder(name)
        return str(resolved.relative_to(self.root))
