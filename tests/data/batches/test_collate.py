"""Images of different sizes in one batch."""

import pytest
import torch
from torch import Tensor

from fcos_lightning import Target
from fcos_lightning.data.batches.collate import Collate
from fcos_lightning.data.batches.dataset import Sample


def picture(height: int, width: int) -> Tensor:
    generator = torch.Generator().manual_seed(height)
    return torch.randint(1, 256, (3, height, width), dtype=torch.uint8, generator=generator)


def sample(image: Tensor, boxes: int = 0) -> Sample:
    target = Target(torch.rand(boxes, 4), torch.arange(boxes))
    return Sample(image, target, image_id=5, original_size_hw=(9, 8), dropped_boxes=boxes)


@pytest.mark.parametrize(
    "sizes",
    [[(1, 1)], [(32, 64)], [(33, 64), (1, 70), (64, 1)], [(5, 70), (40, 3), (64, 96)]],
)
def test_it_is_black_outside_the_images_whatever_the_memory_held(
    sizes: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    images = [picture(*size) for size in sizes]
    empty = torch.empty
    monkeypatch.setattr(torch, "empty", lambda *size, **kind: empty(*size, **kind).fill_(77))

    batch = Collate(32)([sample(image) for image in images]).images

    assert batch.pixels.dtype == torch.uint8 and batch.pixels.is_contiguous()
    for row, image, (height, width) in zip(batch.pixels, images, sizes, strict=True):
        expected = torch.zeros_like(row)
        expected[:, :height, :width] = image
        assert torch.equal(row, expected)
    assert batch.sizes_hw.tolist() == [list(size) for size in sizes]


def test_what_is_known_of_the_images_is_gathered() -> None:
    samples = [sample(picture(20, 30), boxes) for boxes in (2, 0, 3)]
    batch = Collate(32)(samples)
    assert batch.images.padded_size == (32, 32)
    assert batch.targets.valid.sum(dim=1).tolist() == [2, 0, 3]
    assert batch.image_ids.tolist() == [5, 5, 5] and batch.dropped_boxes == 5
    assert batch.original_sizes_hw.tolist() == [[9, 8]] * 3
