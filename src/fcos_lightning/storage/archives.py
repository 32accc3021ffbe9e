"""Unpack zip and tar archives from strangers.

Only plain files and folders with relative names are taken: what the libraries would mend without a
word, as a name that leads out of the folder, is refused. Members are extracted to a hidden folder
first, tar's through the ``data`` filter where Python has it (3.10.12, 3.11.4 and later); without
links, and with the modes of new files, nothing is left that the filter would have to find. What
passes is then moved to its place, and nothing that was there is overwritten.
"""

from __future__ import annotations

import errno
import filecmp
import json
import lzma
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

from fcos_lightning.errors import UserError
from fcos_lightning.storage.bars import readable_size
from fcos_lightning.storage.replacing import write_whole

_DAMAGE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError)


@dataclass(frozen=True)
class _Member:
    """A plain file or folder of an archive, not yet trusted.

    Attributes:
        name: as the archive gives it.
        is_folder: whether it has no content.
        size: bytes after unpacking, as the archive claims.
        extract: writes it below a folder.
    """

    name: str
    is_folder: bool
    size: int
    extract: Callable[[Path], object]


def unpack(
    archive: Path, into: Path, *, report: Callable[[int, int | None], None] | None = None
) -> Path:
    """Unpack a zip or tar archive (by its name) below a folder, once.

    A marker ``.NAME.unpacked`` in ``into`` says that all of it is there. Killed midway, the next
    call begins again; files already in place are recognised by their content.

    Args:
        archive: ``*.zip``, or anything ``tarfile`` reads. CRCs of zip members are checked.
        into: folder, created if need be.
        report: called with the archive's bytes done and in all (None where not known).

    Returns:
        ``into``.

    Raises:
        UserError: if the archive is damaged or holds an unsafe member (then nothing of it is left),
            a different file is in the way (then nothing is moved), or the disk is full.
    """
    archive, into = Path(archive), Path(into)
    draft = into / f".{archive.name}.unpacking"
    try:
        with archive.open("rb") as file, locked(file, archive):
            packed_size = archive.stat().st_size
            if is_unpacked(archive.name, into, packed_size):
                return into
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir(parents=True)
            try:
                files_in = _write_members(archive, draft, report)
                _refuse_conflicts(draft, into)
                _merge(draft, into)
            finally:
                shutil.rmtree(draft, ignore_errors=True)
            _write_marker(into, archive.name, packed_size, files_in)
    except _DAMAGE as error:
        raise UserError(
            f"{archive} is damaged ({' '.join(str(error).split())}): delete it and fetch it again"
        ) from error
    except (OSError, NotImplementedError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"cannot unpack {archive} into {into}: {reason}") from error
    return into


def is_unpacked(archive_name: str, into: Path, packed_size: int | None = None) -> bool:
    """Whether all of an archive lies in a folder: it was unpacked, and no file has gone since.

    Args:
        archive_name: file name of the archive, which need not exist any more.
        into: where it was unpacked.
        packed_size: the archive's size in bytes, where another one of this name may have come.
    """
    try:
        marker = json.loads(_marker(into, archive_name).read_text(encoding="utf-8"))
        if packed_size not in (None, marker["packed_size"]):
            return False
        return all(
            sum(entry.is_file() for entry in os.scandir(into / folder)) >= count
            for folder, count in marker["files_in"].items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


@contextmanager
def locked(file: IO[bytes], path: Path) -> Iterator[None]:
    """Hold a file for this process, where the system has locks.

    Raises:
        UserError: if another process holds it.
    """
    try:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise UserError(f"another process is working on {path}: wait for it, or stop it") from error
    except (ImportError, OSError):
        pass  # Windows, and network folders without locks
    yield


def _write_members(
    archive: Path, draft: Path, report: Callable[[int, int | None], None] | None
) -> Counter[str]:
    """Write every member below ``draft``; returns the number of files in each folder."""
    members = _zip_members if archive.suffix.lower() == ".zip" else _tar_members
    files_in: Counter[str] = Counter()
    done = 0
    for member, total in members(archive):
        parts = _safe_parts(archive, member.name)
        target = draft.joinpath(*parts)
        if member.is_folder:
            target.mkdir(parents=True, exist_ok=True)
            continue
        if not parts or target.exists():
            raise UserError(f"{archive} holds {member.name!r} twice or without a name: refused")
        free = shutil.disk_usage(draft).free
        if max(member.size, (total or 0) - done) > free:
            raise UserError(
                f"{draft.parent} has {readable_size(free)} free, too little to unpack {archive}: "
                "free space or choose another folder"
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        member.extract(draft)
        files_in["/".join(parts[:-1])] += 1
        done += member.size
        if report:
            report(done, total)
    return files_in


def _zip_members(archive: Path) -> Iterator[tuple[_Member, int | None]]:
    with zipfile.ZipFile(archive) as opened:
        total = sum(info.file_size for info in opened.infolist())
        for info in opened.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _unsafe(archive, info.filename, "a link or device")
            if info.flag_bits & 1:
                raise _unsafe(archive, info.filename, "encrypted")
            extract = partial(opened.extract, info)
            yield _Member(info.filename, info.is_dir(), info.file_size, extract), total


def _tar_members(archive: Path) -> Iterator[tuple[_Member, int | None]]:
    filtered: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
    with tarfile.open(archive) as opened:
        for info in opened:
            if not (info.isreg() or info.isdir()):
                raise _unsafe(archive, info.name, "a link or device")
            extract = partial(opened.extract, info, set_attrs=False, **filtered)
            yield _Member(info.name, info.isdir(), info.size, extract), None


def _safe_parts(archive: Path, name: str) -> tuple[str, ...]:
    """Parts of a member's relative name, of which empty ones and dots are left out."""
    if leads_out(name):
        raise _unsafe(archive, name, "outside the folder or with a forbidden sign")
    return tuple(part for part in name.split("/") if part not in ("", "."))


def leads_out(name: str, forbidden: str = "\\:\0") -> bool:
    """Tell whether a stranger's name of a file may lead out of the folder that it is meant for.

    Args:
        name: with ``/`` between folders.
        forbidden: signs that it may not hold. Backslashes and colons are refused on every system,
            since Windows reads them as ways out.
    """
    return name.startswith("/") or ".." in name.split("/") or any(one in name for one in forbidden)


def _unsafe(archive: Path, name: str, what: str) -> UserError:
    return UserError(f"{archive} is not unpacked: its member {name!r} is {what}")


def _refuse_conflicts(draft: Path, into: Path) -> None:
    """Find what the move would overwrite, before anything is moved."""
    for folder, folders, files in os.walk(draft):
        place = into / Path(folder).relative_to(draft)
        for name in folders:
            if os.path.lexists(place / name) and not (place / name).is_dir():
                raise UserError(f"{place / name} is in the way of a folder: move it away")
        for name in files:
            there = place / name
            if os.path.lexists(there) and not (
                there.is_file() and filecmp.cmp(Path(folder) / name, there, shallow=False)
            ):
                raise UserError(
                    f"{there} differs from the archive's and is not overwritten: "
                    "move it away or choose another folder"
                )


def _merge(source: Path, target: Path) -> None:
    """Move what is not there yet: whole folders in one step where that is possible."""
    for entry in sorted(source.iterdir()):
        place = target / entry.name
        if not os.path.lexists(place):
            try:
                entry.rename(place)
            except OSError as error:
                if error.errno != errno.EXDEV:  # a folder the user linked to another disk
                    raise
                shutil.move(entry, place)
        elif entry.is_dir():
            _merge(entry, place)


def _marker(into: Path, archive_name: str) -> Path:
    return into / f".{archive_name}.unpacked"


def _write_marker(into: Path, archive_name: str, packed_size: int, files_in: Counter[str]) -> None:
    content = json.dumps({"packed_size": packed_size, "files_in": files_in})
    write_whole(content, _marker(into, archive_name))
