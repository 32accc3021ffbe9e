"""Several sizes of each image, for testing at all of them."""

from __future__ import annotations

from collections.abc import Sequence

from torch.utils.data import Dataset

from fcos_lightning.data.augment import Augmentation, ShorterSide, as_it_is
from fcos_lightning.data.batches.collate import Collate
from fcos_lightning.data.batches.dataset import DetectionDataset, Sample
from fcos_lightning.data.images import LARGEST_PX
from fcos_lightning.data.splits import DataSplit
from fcos_lightning.structures import Views


class ViewsDataset(Dataset[list[Sample]]):
    """Hands out each image of a split in several sizes.

    Args:
        split: where the images are.
        sizes: shorter sides in pixels; None: as the image is.
        longer_side: what the longer side may at most become.
        on_bad_image: see ``DetectionDataset``.
        max_pixels: see ``DetectionDataset``.
    """

    def __init__(
        self,
        split: DataSplit,
        sizes: Sequence[int | None],
        longer_side: int,
        on_bad_image: str,
        max_pixels: int = LARGEST_PX,
    ) -> None:
        self.split = split
        self.datasets = [
            DetectionDataset(
                split,
                as_it_is() if size is None else Augmentation([ShorterSide(size, longer_side)]),
                on_bad_image=on_bad_image,  # type: ignore[arg-type]  # checked by the data module
                training=False,
                max_pixels=max_pixels,
            )
            for size in sizes
        ]

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, key: tuple[int, int]) -> list[Sample]:
        """Return the image at a position of the split in every size."""
        return [dataset[key] for dataset in self.datasets]


class CollateViews:
    """Makes the views of one image.

    Args:
        collate: pads each of them.
    """

    def __init__(self, collate: Collate) -> None:
        self.collate = collate

    def __call__(self, samples: Sequence[list[Sample]]) -> Views:
        """Return the views; a batch holds one image."""
        (sizes,) = samples
        batches = [self.collate([sample]) for sample in sizes]
        first = batches[0]
        return Views(
            tuple(batch.images for batch in batches),
            first.image_ids,
            first.original_sizes_hw,
            first.unreadable,
        )
