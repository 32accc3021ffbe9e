"""Pictures of truth and detections, side by side and in place."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from PIL import Image

from fcos_lightning import build_fcos
from fcos_lightning.structures import Batch, Detections, Images, Target, Targets
from fcos_lightning.training.callbacks.previews import Previews
from fcos_lightning.training.module import FCOSModule

#: The image was 80 high and 160 wide, and is seen in half of that, with padding around.
ORIGINAL, SEEN, PADDED = (80, 160), (40, 80), 96


def batch(images: int) -> Batch:
    pixels = torch.zeros(images, 3, PADDED, PADDED, dtype=torch.uint8)
    target = Target(torch.tensor([[4.0, 6.0, 30.0, 36.0]]), torch.tensor([1]))
    return Batch(
        Images(pixels, torch.tensor([SEEN] * images)),
        Targets.stack([target] * images),
        torch.arange(images),
        torch.tensor([ORIGINAL] * images),
    )


def shown(folder: Path, previews: Previews, images: int, rank: int = 0) -> list[Path]:
    """Let an epoch go by in which a strong and a weak box are found in each image."""
    boxes = torch.tensor([[100.0, 20.0, 140.0, 70.0], [8.0, 8.0, 24.0, 24.0]])
    found = Detections(boxes, torch.tensor([0.9, 0.2]), torch.tensor([0, 0]))
    module = FCOSModule(build_fcos(num_classes=2, backbone={"name": "tiny"}))
    trainer: Any = SimpleNamespace(is_global_zero=rank == 0, current_epoch=4)
    previews.on_validation_epoch_start(trainer, module)
    for _ in range(2):
        outputs = {"detections": [found] * images}
        previews.on_validation_batch_end(trainer, module, outputs, batch(images), 0)
    previews.on_validation_epoch_end(trainer, module)
    return sorted(folder.rglob("*.*"))


def test_truth_stands_on_the_left_and_what_is_found_on_the_right(tmp_path: Path) -> None:
    (file,) = shown(tmp_path, Previews(tmp_path, images=1), images=1)
    assert file.name == "epoch_005.jpg"
    picture = np.asarray(Image.open(file)).astype(int)
    larger = 320 // 40
    assert picture.shape == (40 * larger, 2 * 80 * larger, 3)

    def near(x: float, y: float, label: int) -> bool:
        """Whether a line passes, blue for label 1, else orange; JPEG leaves no pure colours."""
        row, column = round(y * larger), round(x * larger)
        around = picture[max(row - 3, 0) : row + 4, column - 3 : column + 4].reshape(-1, 3)
        red, _, blue = around[around.sum(axis=1).argmax()].tolist()
        return max(red, blue) > 100 and (blue > red) == (label == 1)

    assert near(30, 25, 1) and near(20, 36, 1)  # right and lower side of the object
    assert near(80 + 70, 25, 0) and near(80 + 60, 35, 0)  # of what was found, half as large
    assert not near(70, 25, 0) and not near(80 + 30, 25, 1)  # and not the other way round
    assert not near(80 + 12, 8, 0)  # the weak one is not drawn


def test_so_many_images_and_no_more(tmp_path: Path) -> None:
    (file,) = shown(tmp_path, Previews(tmp_path, images=3), images=2)
    # Two beside each other, the third below.
    assert Image.open(file).size == (2 * (2 * 640 + 4) + 4, 2 * (320 + 4) + 4)


def test_the_first_rank_alone_draws(tmp_path: Path) -> None:
    assert shown(tmp_path, Previews(tmp_path), images=1, rank=1) == []
