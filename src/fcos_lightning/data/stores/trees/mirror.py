"""A folder of this machine with the names of all objects below an address, for readers to look at.

Files of annotations are copies. All others, and images above all, are there by their names alone:
their bytes are asked for when they are needed, see ``RemoteImages``. A folder is never changed once
it is there: another listing makes another one, which has those copies in common that are the same.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from fcos_lightning.data.images import IMAGE_ENDINGS
from fcos_lightning.data.stores.places import RemotePlace
from fcos_lightning.data.stores.store import StoreError
from fcos_lightning.data.stores.trees.listing import Listed, Listing, wrong_name
from fcos_lightning.data.stores.trees.objects import copy_object
from fcos_lightning.errors import UserError, shown
from fcos_lightning.storage.bars import progress_bar, readable_size
from fcos_lightning.storage.caches import cache_folder, name_for, waiting_for
from fcos_lightning.storage.folders import complete_or_absent, hold
from fcos_lightning.storage.replacing import DRAFT, replacing, write_whole

#: What readers may open of a folder's names.
Chooser = Callable[[str, Sequence[str]], Sequence[str]]

#: Files that come at the same time.
_THREADS = 32
#: No file of annotations is larger; what is has another use.
_LARGEST = 8_000_000_000
_LISTING, _COPIES = "listing.npz", "copies"


@dataclass(frozen=True, eq=False)
class Mirror:
    """The folder.

    Attributes:
        place: the address.
        base: where all that is kept of the address lies.
        root: the folder, resolved; it is called as the address ends.
    """

    place: RemotePlace
    base: Path
    root: Path

    def listing(self) -> Listing:
        """Return what it was made of."""
        return Listing.unpacked((self.root.parents[1] / _LISTING).read_bytes())

    def below(self, folder: Path) -> str:
        """Return what the names of files in a folder begin with below the address.

        Raises:
            UserError: if the folder is outside of the mirror, as an option may say.
        """
        path = folder.resolve()
        if not path.is_relative_to(self.root):
            raise UserError(
                f"data.images: {folder} is not below data.root={self.place.text}, where all "
                "images have to be"
            )
        inside = path.relative_to(self.root).as_posix()
        return "" if inside == "." else f"{inside}/"

    def bring(self, file: Path) -> None:
        """See that a file is there with its content, if there is one, whatever it is called."""
        if not file.is_relative_to(self.root):
            return
        name = file.relative_to(self.root).as_posix()
        listing = self.listing()
        if name in listing.rows:
            one = listing[listing.rows[name]]
            with _written(self.base), waiting_for(self.base / ".lock"):
                _fetch(self.place, self.base, [one])
                if not os.path.samefile(_copy(self.base, one), file):
                    draft = file.with_name(f".{one.key}{DRAFT}")
                    draft.unlink(missing_ok=True)
                    _link(_copy(self.base, one), draft)
                    draft.replace(file)


def mirror_of(place: RemotePlace, listing: Listing, chosen: Chooser) -> Mirror:
    """Make the folder of a listing, unless it is there.

    Args:
        place: what was listed.
        listing: of it.
        chosen: which files of a folder are copied.

    Raises:
        StoreError: if a file cannot be fetched, or nothing can be written.
        NotAsListed: if one has changed since it was listed.
    """
    last = place.text.rstrip("/").rsplit("/", 1)[-1]
    # Some data sets give paths that begin with the name of their folder.
    within = Path("root", "data" if wrong_name(last) else last)
    with _written(cache_folder() / "trees"):
        base = (cache_folder() / "trees").resolve() / name_for(place.text)
        base.mkdir(parents=True, exist_ok=True)
        with waiting_for(base / ".lock"):
            version = base / listing.digest
            if not (version / _LISTING).is_file():
                shutil.rmtree(version, ignore_errors=True)
                read = _to_be_read(listing, chosen)
                _fetch(place, base, [listing[row] for row in read])
                with complete_or_absent(version, last=_LISTING) as draft:
                    _fill(place, base, draft / within, listing, set(read))
                    write_whole(listing.packed(), draft / _LISTING)
            _hold(version)
            _remove_others(base, version)
    return Mirror(place, base, version / within)


def _to_be_read(listing: Listing, chosen: Chooser) -> list[int]:
    """Return the rows of files that are copied."""
    folders: dict[str, dict[str, int]] = {}
    for row, name in enumerate(listing.names):
        if os.path.splitext(name)[1].lower() not in IMAGE_ENDINGS:
            folder, _, own = name.rpartition("/")
            folders.setdefault(folder, {})[own] = row
    rows = [rows[own] for folder, rows in folders.items() for own in chosen(folder, list(rows))]
    return sorted({row for row in rows if listing.sizes[row] <= _LARGEST})


def _fetch(place: RemotePlace, base: Path, objects: Sequence[Listed]) -> None:
    """Bring copies that are not there yet."""
    missing = [one for one in objects if not _is_whole(_copy(base, one), one.size)]
    if not missing:
        return
    needed, free = sum(one.size for one in missing), shutil.disk_usage(base).free
    if needed > free:
        raise StoreError(
            f"data.root={place.text}: its annotations have {readable_size(needed)}, and {base} has "
            f"{readable_size(free)} free: free space, or set XDG_CACHE_HOME to another folder"
        )
    for first in {one.key[:2] for one in missing}:
        (base / _COPIES / first).mkdir(parents=True, exist_ok=True)

    def bring(one: Listed) -> int:
        with replacing(_copy(base, one), durable=False) as draft:
            copy_object(place, one, draft)
        return one.size

    done = 0
    with progress_bar("annotations") as bar, ThreadPoolExecutor(_THREADS) as pool:
        coming = [pool.submit(bring, one) for one in missing]
        try:
            for one in as_completed(coming):
                done += one.result()
                bar.show(done, needed)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _fill(place: RemotePlace, base: Path, root: Path, listing: Listing, copied: set[int]) -> None:
    root.mkdir(parents=True)
    made = {""}
    for row, name in enumerate(listing.names):
        folder = name.rpartition("/")[0]
        file = root / name
        if folder not in made:
            file.parent.mkdir(parents=True, exist_ok=True)
            made.add(folder)
        try:
            if row in copied:
                _link(_copy(base, listing[row]), file)
            else:
                handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
                try:
                    if os.path.splitext(name)[1].lower() not in IMAGE_ENDINGS:
                        os.truncate(handle, int(listing.sizes[row]))  # for those who ask for it
                finally:
                    os.close(handle)
        except FileExistsError:
            raise StoreError(
                f"data.root={place.text}: this disk does not tell {shown(name)} from another name "
                "below the address: rename one of the two"
            ) from None


def _link(copy: Path, file: Path) -> None:
    try:
        os.link(copy, file)
    except FileExistsError:
        raise
    except OSError:  # a disk without such links
        shutil.copyfile(copy, file)


def _copy(base: Path, one: Listed) -> Path:
    return base / _COPIES / one.key[:2] / one.key[2:]


def _is_whole(copy: Path, size: int) -> bool:
    try:
        return copy.stat().st_size == size
    except OSError:
        return False


#: Folders that this process holds.
_HELD: dict[Path, int | None] = {}


def _hold(version: Path) -> None:
    """Let no process remove a folder until this one and those that it forks have ended."""
    if version not in _HELD:
        with suppress(BlockingIOError, FileNotFoundError):
            _HELD[version] = hold(version, shared=True)


def _remove_others(base: Path, version: Path) -> None:
    """Remove what was made of earlier listings, where nobody uses it any more."""
    gone = False
    for one in base.iterdir():
        if one in (version, base / _COPIES) or not one.is_dir():
            continue
        with suppress(BlockingIOError, FileNotFoundError):
            handle = hold(one)
            if handle is not None:  # else there are no locks, and nobody can tell
                shutil.rmtree(one, ignore_errors=True)
                os.close(handle)
                gone = True
    if gone:
        for folder, _, names in os.walk(base / _COPIES):
            for name in names:
                with suppress(OSError):
                    path = os.path.join(folder, name)
                    if os.stat(path).st_nlink == 1:
                        os.unlink(path)


@contextmanager
def _written(where: Path) -> Iterator[None]:
    """Say in one line that what is kept of an address cannot be written."""
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"cannot keep the names and annotations of an address in {where}: "
            f"{error.strerror or error}; free space, or set XDG_CACHE_HOME to another folder"
        ) from None
