"""Shards as ``fcos-pack`` writes them, in a folder or on object storage."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from fcos_lightning.data.finding.layout import AnyLayout, ImageSet, Layout, Options
from fcos_lightning.data.finding.survey import Survey
from fcos_lightning.data.readers.values import spelt
from fcos_lightning.data.splits import Classes, DataSplit
from fcos_lightning.data.stores.packed_index import (
    INDEX,
    PackedIndex,
    PackedSet,
    read_columns,
    read_index,
)
from fcos_lightning.data.stores.places import LocalPlace, Place
from fcos_lightning.data.stores.shard_cache import ShardCache
from fcos_lightning.data.stores.shards import ShardStore
from fcos_lightning.errors import UserError, shown
from fcos_lightning.printing import some_of
from fcos_lightning.storage.bars import readable_size
from fcos_lightning.structures import GroundTruth


@dataclass(frozen=True)
class ShardSet(ImageSet):
    """A packed set.

    Attributes:
        packed: what the index says of it.
    """

    packed: PackedSet


@dataclass(frozen=True)
class ShardsLayout(Layout[ShardSet]):
    """Packed sets of images.

    Attributes:
        place: where they are.
        index: what is there.
    """

    format: ClassVar[str] = "shards"
    place: Place = field(kw_only=True)
    index: PackedIndex = field(kw_only=True)

    @property
    def protocol(self) -> Literal["coco", "voc"]:
        """That of the layout that was packed."""
        return self.index.protocol

    @property
    def where(self) -> str:
        """The folder or address."""
        return self.place.text

    def read_set(self, one: ShardSet, classes: Classes | None, options: Options) -> DataSplit:
        """Read a set; classes of another one are found by their names."""
        packed = one.packed
        given = options.class_names
        if classes is None and given is not None and given != self.index.class_names:
            raise UserError(
                f"data.class_names={list(given)}: {self.where} was packed with the classes "
                f"{list(self.index.class_names)}; leave the option out"
            )
        if options.strict and packed.dropped:
            number = sum(packed.dropped.values())
            raise UserError(
                f"{self.where}: {number} boxes of {one.name} were left out when it was packed: set "
                "data.strict to false, or pack it again with data.strict=true"
            )
        cache = None
        if self.place.remote and options.cache_bytes > 0:
            largest = max(packed.shards, key=lambda shard: shard.size)
            if largest.size > options.cache_bytes:
                raise UserError(
                    f"data.cache_gb={options.cache_bytes / 1e9:g}: {largest.name} alone has "
                    f"{readable_size(largest.size)}; give more, or 0 to keep nothing"
                )
            cache = ShardCache.of(self.place, packed.digest, options.cache_bytes)
        truth, rows = read_columns(self.place, self.index, packed)
        store = ShardStore(self.place, packed.shards, rows, truth.file_names, cache)
        if classes is not None:
            truth = _relabelled(truth, classes, f"{self.where}, set {one.name}")
        return DataSplit(
            truth,
            Path(self.where),
            dict(packed.dropped),
            one.name,
            packed.remarks,
            packed.annotated,
            store,
        )


def find_shards(survey: Survey) -> list[AnyLayout]:
    """Find an index of shards in the folder itself: at most one layout."""
    if INDEX not in survey[""].files:
        return []
    place = LocalPlace(survey.root)
    index = read_index(place)
    return [] if index is None else [_layout(place, index)]


def shards_at(place: Place) -> AnyLayout | None:
    """Return the layout of a place on object storage; None if there are no shards."""
    index = read_index(place)
    return None if index is None else _layout(place, index)


def _layout(place: Place, index: PackedIndex) -> ShardsLayout:
    sets = [f"{one.name} ({one.images} images in {len(one.shards)} shards)" for one in index.sets]
    return ShardsLayout(
        Path(place.text),
        f"shards, packed from {index.title}",
        f"{INDEX} with the sets {some_of(sets)}",
        tuple(ShardSet(one.name, one) for one in index.sets),
        place=place,
        index=index,
    )


def _relabelled(truth: GroundTruth, classes: Classes, where: str) -> GroundTruth:
    """Give boxes the labels of other classes: those of the same name, and the same id if several.

    Raises:
        UserError: if a box is of none of them.
    """
    if (truth.class_names, truth.category_ids) == (classes.names, classes.category_ids):
        return truth
    by_name = {spelt(name): label for label, name in reversed([*enumerate(classes.names)])}
    by_both = {
        (spelt(name), category): label
        for label, (name, category) in enumerate(
            zip(classes.names, classes.category_ids, strict=True)
        )
    }
    labels = np.array(
        [
            by_both.get((spelt(name), category), by_name.get(spelt(name), -1))
            for name, category in zip(truth.class_names, truth.category_ids, strict=True)
        ],
        dtype=np.int64,
    )
    for label in np.unique(truth.labels).tolist():
        if labels[label] < 0:
            raise UserError(
                f"{where}: class {shown(truth.class_names[label])} is none of the "
                f"{len(classes.names)} known: {some_of(classes.names)}"
            )
    return replace(
        truth,
        labels=labels[truth.labels],
        class_names=classes.names,
        category_ids=classes.category_ids,
    )
