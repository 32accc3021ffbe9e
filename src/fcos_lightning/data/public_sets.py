"""Where COCO and VOC are published, and the road from there to folders the data modules read."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fcos_lightning.errors import UserError
from fcos_lightning.storage.bars import progress_bar, readable_size
from fcos_lightning.storage.download import fetch, is_unpacked, remote_size, unpack


@dataclass(frozen=True)
class Archive:
    """One published archive.

    Attributes:
        split: its name on the command line.
        path: below the publisher's address.
        about_bytes: size, for planning; the server's own figure goes first.
        brings: a file or folder that is there once it is unpacked, below the root.
        md5: the publisher's or torchvision's digest; None where none is known.
        unpacked_ratio: bytes unpacked per byte packed.
        images: how many files ``brings`` holds when it is complete, if it is a folder of its own.
    """

    split: str
    path: str
    about_bytes: int
    brings: str
    md5: str | None = None
    unpacked_ratio: float = 1.0
    images: int | None = None

    @property
    def file_name(self) -> str:
        """Name of the archive on disk."""
        return self.path.rsplit("/", 1)[-1]

    def is_present(self, root: Path) -> bool:
        """Whether its content lies below ``root``, unpacked by us or by hand."""
        folder = root / self.brings
        if is_unpacked(self.file_name, root) and folder.exists():
            return True
        if self.images is None or not folder.is_dir():
            return False
        return sum(1 for _ in folder.iterdir()) >= self.images


# No checksums of the COCO zips are published as far as we know: the size the server gives and the
# CRC of every member are checked instead. Addresses: https://cocodataset.org/#download.
COCO_URL = "http://images.cocodataset.org"
COCO = (
    Archive("train2017", "zips/train2017.zip", 19_340_000_000, "train2017", images=118_287),
    Archive("val2017", "zips/val2017.zip", 816_000_000, "val2017", images=5_000),
    Archive(
        "annotations",
        "annotations/annotations_trainval2017.zip",
        253_000_000,
        "annotations/instances_train2017.json",
        unpacked_ratio=3.5,
    ),
)
# Addresses and MD5 sums as torchvision/datasets/voc.py lists them.
VOC_URL = "https://thor.robots.ox.ac.uk/pascal/VOC"
VOC = (
    Archive(
        "2007-trainval",
        "voc2007/VOCtrainval_06-Nov-2007.tar",
        460_000_000,
        "VOCdevkit/VOC2007/ImageSets/Main/trainval.txt",
        md5="c52e279531787c972589f7e41ab4ae64",
    ),
    Archive(
        "2007-test",
        "voc2007/VOCtest_06-Nov-2007.tar",
        451_000_000,
        "VOCdevkit/VOC2007/ImageSets/Main/test.txt",
        md5="b6e924de25625d8de591ea690078ad9f",
    ),
    Archive(
        "2012-trainval",
        "voc2012/VOCtrainval_11-May-2012.tar",
        2_000_000_000,
        "VOCdevkit/VOC2012/ImageSets/Main/trainval.txt",
        md5="6cd6e144f989b92b3379bac3b3de84fd",
    ),
)


def obtain(
    archives: Sequence[Archive],
    root: Path,
    base_url: str,
    *,
    dry_run: bool = False,
    keep_archives: bool = False,
    say: Callable[[str], None] = print,
) -> None:
    """Fetch, check and unpack archives below a folder; what is there already is skipped.

    Args:
        archives: what to get.
        root: folder for archives and content.
        base_url: the publisher's address, or a mirror's with the same paths below it.
        dry_run: only say what would be done.
        keep_archives: do not delete an archive once its content is in place.
        say: takes one line for the user.

    Raises:
        UserError: as ``fetch`` and ``unpack``, or if the disk is too small for all of it.
    """
    root = Path(root)
    missing = []
    for archive in archives:
        if archive.is_present(root):
            say(f"{archive.split}: already in {root}")
        else:
            missing.append((archive, f"{base_url.rstrip('/')}/{archive.path}"))
    sizes = [remote_size(url) or archive.about_bytes for archive, url in missing]
    needed = _needed_bytes([archive for archive, _ in missing], sizes, root, keep_archives)
    if dry_run:
        for (archive, url), size in zip(missing, sizes, strict=True):
            say(f"{archive.split}: would fetch {url} ({readable_size(size)}) into {root}")
        say(f"about {readable_size(needed)} of disk space needed; nothing was fetched or written")
        return
    free = shutil.disk_usage(_existing_parent(root)).free
    if needed > free:
        raise UserError(
            f"{root} has {readable_size(free)} free and about {readable_size(needed)} are needed: "
            "free space, choose another folder or fewer --splits"
        )
    for (archive, url), size in zip(missing, sizes, strict=True):
        packed = root / archive.file_name
        say(f"{archive.split}: fetching {url} ({readable_size(size)})")
        fetch(url, packed, md5=archive.md5)
        say(f"{archive.split}: unpacking into {root}")
        with progress_bar(f"unpacking {packed.name}") as bar:
            unpack(packed, root, report=bar.show)
        if not (root / archive.brings).exists():
            packed.unlink()  # or the next run would not ask the other mirror
            raise UserError(
                f"{packed} from {url} does not hold {archive.brings}: use another mirror"
            )
        if not keep_archives:
            packed.unlink()


def _needed_bytes(
    archives: Sequence[Archive], sizes: Sequence[int], root: Path, keep_archives: bool
) -> int:
    """Peak of disk space still to be filled, one archive after the other."""
    standing = peak = 0
    for archive, size in zip(archives, sizes, strict=True):
        packed = root / archive.file_name
        parts = (packed, packed.with_name(f"{packed.name}.part"))
        have = max((part.stat().st_size for part in parts if part.is_file()), default=0)
        unpacked = int(size * archive.unpacked_ratio)
        peak = max(peak, standing + size - have + unpacked)
        standing += unpacked + (size if keep_archives else 0) - have
    return peak


def _existing_parent(path: Path) -> Path:
    path = path.absolute()
    return next(folder for folder in (path, *path.parents) if folder.is_dir())


def command(
    argv: Sequence[str] | None,
    archives: Sequence[Archive],
    *,
    description: str,
    official_url: str,
    default_splits: Sequence[str],
    always: Sequence[str] = (),
    next_step: str,
) -> int:
    """Run a download script.

    Args:
        argv: arguments, None for those of the process.
        archives: what can be asked for.
        description: for ``--help``.
        official_url: where the publisher keeps them.
        default_splits: what is fetched if nothing is said.
        always: splits that every other one needs.
        next_step: printed at the end, ``{root}`` being the folder.

    Returns:
        Exit status: 0, or 2 on a user's error, or 130 if interrupted.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("root", type=Path, metavar="DIR", help="folder for the data set")
    names = [archive.split for archive in archives]
    parser.add_argument(
        "--splits",
        nargs="+",
        choices=names,
        default=list(default_splits),
        help=f"what to fetch (default: {' '.join(default_splits)})",
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would be fetched, only")
    parser.add_argument("--keep-archives", action="store_true", help="do not delete the archives")
    parser.add_argument(
        "--base-url",
        default=official_url,
        metavar="URL",
        help="a mirror with the same paths (default: %(default)s)",
    )
    arguments = parser.parse_args(argv)
    wanted = {*arguments.splits, *always}
    root: Path = arguments.root.expanduser()
    try:
        obtain(
            [archive for archive in archives if archive.split in wanted],
            root,
            arguments.base_url,
            dry_run=arguments.dry_run,
            keep_archives=arguments.keep_archives,
            say=lambda line: print(line, flush=True),
        )
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped: the same command goes on from here", file=sys.stderr)
        return 130
    if not arguments.dry_run:
        print(next_step.format(root=root))
    return 0
