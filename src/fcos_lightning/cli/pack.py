"""``fcos-pack``: a data set of any layout in tar shards, for object storage or a disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fcos_lightning.errors import UserError
from fcos_lightning.signals import stopped_in_one_line

if TYPE_CHECKING:
    from omegaconf import DictConfig


def main() -> None:
    """Entry point of the command."""
    with stopped_in_one_line():
        from fcos_lightning.cli.app import run

        run(pack, "pack")


def pack(config: DictConfig) -> None:
    """Read a data set, write it in shards, and say what there is."""
    from fcos_lightning.arguments import fits
    from fcos_lightning.cli.app import required

    wanted = required(config, "out", "give a new folder or an address, as out=s3://BUCKET/FOLDER")
    if not fits(config.shard_mb, float) or not 0 < config.shard_mb <= 4096:
        raise UserError(f"shard_mb={config.shard_mb}: give a number of megabytes, at most 4096")

    # Imported here, because this costs seconds that help and mistakes should not.
    from fcos_lightning.data import DetectionDataModule
    from fcos_lightning.data.stores.packing import Packer
    from fcos_lightning.data.stores.places import place_of
    from fcos_lightning.printing import LONGEST_LINE, printable
    from fcos_lightning.runs.objects.instantiate import make
    from fcos_lightning.storage.bars import counting_bar, readable_size

    place = place_of(wanted, "out")
    data = make(config, "data", augmentation=None, seed=0)
    if not isinstance(data, DetectionDataModule):
        raise UserError(f"data._target_ gives a {type(data).__name__}, not a data module")
    splits = data.whole_splits()
    found = (data.found or type(data).__name__).split(":", 1)[0]
    with counting_bar("packing", sum(map(len, splits))) as step:
        packer = Packer(
            place,
            round(config.shard_mb * 1e6),
            data.on_bad_image == "skip",
            step,
        )
        index = packer.pack(splits, found, data.protocol)
    for split, one in zip(splits, index.sets, strict=True):
        size = readable_size(sum(shard.size for shard in one.shards))
        print(
            printable(
                f"{one.name}: {one.images} images and {one.boxes} boxes in {len(one.shards)} "
                f"shards, {size}",
                LONGEST_LINE,
            )
        )
        for note in split.notes():
            print(printable(f"{one.name}: {note}", LONGEST_LINE))
    print(printable(f"read it by data.root={place.text}", LONGEST_LINE))


if __name__ == "__main__":
    main()
