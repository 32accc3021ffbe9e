"""Pictures of truth and detections, side by side and in place."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from PIL import Image, ImageColor
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fcos_lightning import build_fcos
from fcos_lightning.inference.pictures.drawing import COLOURS
from fcos_lightning.structures import Batch, Detections, Images, Target, Targets
from fcos_lightning.training.callbacks.previews import (
    _HEAD_PX,
    FALSE,
    HIT,
    IGNORED,
    MISSED,
    Previews,
    _matched,
)
from fcos_lightning.training.module import FCOSModule

#: The image was 80 high and 160 wide, and is seen in half of that, with padding around.
ORIGINAL, SEEN, PADDED = (80, 160), (40, 80), 96


class Pictures:
    """A logger of the kind of Weights & Biases."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, tuple[int, int], int]] = []

    def log_image(self, key: str, images: list[Image.Image], step: int) -> None:
        self.taken.append((key, images[0].size, step))


def batch(images: int) -> Batch:
    pixels = torch.zeros(images, 3, PADDED, PADDED, dtype=torch.uint8)
    target = Target(torch.tensor([[4.0, 6.0, 30.0, 36.0]]), torch.tensor([1]))
    return Batch(
        Images(pixels, torch.tensor([SEEN] * images)),
        Targets.stack([target] * images),
        torch.arange(images),
        torch.tensor([ORIGINAL] * images),
    )


def shown(
    folder: Path, previews: Previews, images: int, rank: int = 0, loggers: Sequence[object] = ()
) -> list[Path]:
    """Let an epoch go by in which a strong and a weak box are found in each image."""
    boxes = torch.tensor([[100.0, 20.0, 140.0, 70.0], [8.0, 8.0, 24.0, 24.0]])
    found = Detections(boxes, torch.tensor([0.9, 0.2]), torch.tensor([0, 0]))
    module = FCOSModule(build_fcos(num_classes=2, backbone={"name": "tiny"}))
    trainer: Any = SimpleNamespace(
        is_global_zero=rank == 0, current_epoch=4, global_step=77, loggers=list(loggers)
    )
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
    larger = 400 // 40
    assert picture.shape == (40 * larger + _HEAD_PX, 2 * 80 * larger, 3)

    def near(x: float, y: float, colour: str) -> bool:
        """Whether a line of this colour passes; JPEG leaves no pure colours."""
        row, column = round(y * larger) + _HEAD_PX, round(x * larger)
        around = picture[max(row - 3, 0) : row + 4, column - 3 : column + 4].reshape(-1, 3)
        brightest = around[around.sum(axis=1).argmax()]
        others = {c: np.abs(brightest - ImageColor.getrgb(c)).sum() for c in (HIT, MISSED, FALSE)}
        return brightest.sum() > 150 and min(others, key=others.__getitem__) == colour

    assert near(30, 25, MISSED) and near(20, 36, MISSED)  # right and lower side of the object
    assert near(80 + 70, 25, FALSE) and near(80 + 60, 35, FALSE)  # what was found, half as large
    assert not near(70, 25, FALSE) and not near(80 + 30, 25, MISSED)  # not the other way round
    assert not near(80 + 12, 8, FALSE)  # the weak one is not drawn


def test_hits_misses_and_false_ones_are_told_apart() -> None:
    wanted = torch.tensor([[0.0, 0.0, 10.0, 10.0], [20.0, 0.0, 30.0, 10.0], [40.0, 0, 50, 10]])
    found = torch.tensor(
        [
            [20.0, 1.0, 30.0, 11.0],  # the second, but weaker than another that is on it
            [20.0, 0.0, 30.0, 10.0],
            [0.0, 0.0, 10.0, 10.0],  # of another class
            [40.0, 0.0, 50.0, 5.0],  # half of it is enough
            [60.0, 0.0, 70.0, 10.0],
        ]
    )
    labels = torch.tensor([1, 1, 0, 1, 1])
    scores = torch.tensor([0.5, 0.9, 0.9, 0.8, 0.7])
    right, seen = _matched(wanted, torch.tensor([1, 1, 1]), found, labels, scores)
    assert right == [False, True, False, True, False] and seen == [False, True, True]
    none = torch.zeros(0, 4)
    assert _matched(none, labels[:0], found, labels, scores) == ([False] * 5, [])
    assert _matched(wanted, labels[:3], none, labels[:0], scores[:0]) == ([], [False] * 3)


def test_loggers_that_take_pictures_get_them(tmp_path: Path) -> None:
    pictures, other = Pictures(), object()
    (file,) = shown(tmp_path, Previews(tmp_path, images=2), 2, loggers=(other, pictures))
    assert pictures.taken == [("previews", Image.open(file).size, 77)]
    board = TensorBoardLogger(tmp_path / "board")
    shown(tmp_path / "again", Previews(tmp_path / "again", images=1), 1, loggers=(board,))
    board.finalize("success")
    events = EventAccumulator(board.log_dir, {"images": 0})
    events.Reload()
    assert [one.step for one in events.Images("previews")] == [77]


def test_so_many_images_and_no_more(tmp_path: Path) -> None:
    (file,) = shown(tmp_path, Previews(tmp_path, images=3), images=2)
    # Two beside each other, the third below.
    assert Image.open(file).size == (2 * (2 * 800 + 4) + 4, 2 * (400 + _HEAD_PX + 4) + 4)


def test_the_first_rank_alone_draws(tmp_path: Path) -> None:
    assert shown(tmp_path, Previews(tmp_path), images=1, rank=1) == []


def test_what_is_learnt_from_is_drawn_once_an_epoch(tmp_path: Path) -> None:
    pictures = Pictures()
    module = FCOSModule(build_fcos(num_classes=2, backbone={"name": "tiny"}))
    trainer: Any = SimpleNamespace(
        is_global_zero=True, current_epoch=1, global_step=7, loggers=[pictures]
    )
    target = Target(
        torch.tensor([[4.0, 6.0, 30.0, 36.0]]),
        torch.tensor([1]),
        torch.tensor([[50.0, 5.0, 70.0, 30.0]]),
    )
    plain = batch(2)
    learnt = Batch(
        plain.images,
        Targets.stack([target, Target(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))]),
        plain.image_ids,
        plain.original_sizes_hw,
    )
    previews = Previews(tmp_path, images=8)
    previews.on_train_batch_start(trainer, module, learnt, 1)
    assert not any(tmp_path.iterdir())
    previews.on_train_batch_start(trainer, module, learnt, 0)
    (file,) = tmp_path.iterdir()
    assert file.name == "train_002.jpg"
    assert pictures.taken == [("train_images", Image.open(file).size, 7)]
    picture, larger = np.asarray(Image.open(file)).astype(int), 400 // 40

    def near(x: float, y: float) -> str | None:
        """Which line passes; JPEG leaves no pure colours."""
        row, column = round(y * larger) + _HEAD_PX + 4, round(x * larger) + 4
        around = picture[row - 3 : row + 4, column - 3 : column + 4].reshape(-1, 3)
        brightest = around[around.sum(axis=1).argmax()]
        off = {c: np.abs(brightest - ImageColor.getrgb(c)).sum() for c in (COLOURS[1], IGNORED)}
        return min(off, key=off.__getitem__) if brightest.sum() > 150 else None

    assert near(30, 25) == near(20, 36) == COLOURS[1]  # right and lower side of the object
    assert near(70, 20) == near(60, 30) == IGNORED
    assert near(45, 20) is None  # in neither
    # No picture where none is asked for, and none but of the first rank.
    none = tmp_path / "none"
    for changed, rank in ((Previews(none, images=0), 0), (Previews(none), 1)):
        trainer.is_global_zero = rank == 0
        changed.on_train_batch_start(trainer, module, learnt, 0)
    assert not none.exists()
