"""Whether the data of a run that goes on are those that it began with.

The batches of an epoch are numbers of images: were there others, the run would go on with a data
set that it has seen in part, and nobody would notice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fcos_lightning.data import DetectionDataModule
from fcos_lightning.data.splits import DataSplit
from fcos_lightning.errors import UserError

#: Of a checkpoint's description.
KEY = "data_digest"


def digests(data: DetectionDataModule) -> dict[str, str]:
    """Return what tells the splits of a run from all others, wherever they lie."""
    return {"train": _digest(data.train), "val": _digest(data.val)}


def check_same_data(folder: Path, about: Mapping[str, Any], data: DetectionDataModule) -> None:
    """Refuse to go on with other data.

    Args:
        folder: of the run.
        about: what its checkpoint says; one of an earlier version says nothing of this.
        data: as it is read now.

    Raises:
        UserError: naming the split.
    """
    before = about.get(KEY)
    if not isinstance(before, dict):
        return
    now = digests(data)
    for role, split in (("train", data.train), ("val", data.val)):
        if role in before and before[role] != now[role]:
            raise UserError(
                f"resume={folder}: the split {split.name} ({split.place}) is not the one that "
                "the run began with: its images, their sizes or their boxes differ; give "
                "data.root= the place where that one lies, or start a new run with "
                "init_from=CHECKPOINT"
            )


def _digest(split: DataSplit) -> str:
    truth = split.truth
    made = hashlib.sha256()
    for words in (truth.file_names.tolist(), truth.class_names, truth.category_ids):
        made.update(repr(list(words)).encode("utf-8", "surrogatepass"))
    for numbers in (
        *(truth.image_ids, truth.sizes_hw, truth.first_box, truth.boxes_xyxy),
        *(truth.labels, truth.ignored, truth.areas_px),
    ):
        made.update(numbers.tobytes())
    return made.hexdigest()
