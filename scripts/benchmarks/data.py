"""The road of a training image from JPEG to batch, on one core, beside torchvision's.

The images are drawn here, of COCO's size and number of bytes. Where the environment variable
``FCOS_SHARED`` names a folder that holds ``data/coco256``, its photographs are measured too.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.transforms import v2
from torchvision.tv_tensors import BoundingBoxes

from benchmarks.measure import Figure, Result, alternate, median
from fcos_lightning.data import CocoDataModule
from fcos_lightning.data.augment import A, Augmentation, ShorterSide
from fcos_lightning.data.images import read_image
from fcos_lightning.structures import Batch

TITLE = "training data: COCO JPEG to resized, padded batch, one core"

PEER = "torchvision's reference (PIL, float, normalise, resize)"
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
SIDES = (800, 1333)
BATCH = 8
IMAGES = 64


class Case:
    """A folder of images in COCO's layout, and both ways to its batches.

    Args:
        root: the folder.
        flips: probability of a flip from left to right; 0 to compare.
    """

    def __init__(self, root: Path, flips: float = 0.5) -> None:
        self.data = CocoDataModule(
            root,
            train_split="train2017",
            val_split="train2017",
            batch_size=BATCH,
            augmentation=Augmentation([A.HorizontalFlip(p=flips), ShorterSide(*SIDES)]),
            num_workers=0,
        )
        split = self.data.train
        self.paths = [split.path(image) for image in range(len(split))]
        self.truth = [split.target(image) for image in range(len(split))]
        # Both take the same images together.
        batches = self.data.train_dataloader().batch_sampler
        self.order = [[image for _, image in batch] for batch in batches]  # type: ignore[union-attr]
        self.count = sum(map(len, self.order))
        self.augment = v2.Compose(
            [
                v2.RandomHorizontalFlip(flips),
                v2.PILToTensor(),
                v2.ToDtype(torch.float, scale=True),
                v2.ToPureTensor(),
            ]
        )
        self.transform = GeneralizedRCNNTransform(*SIDES, MEAN, STD)

    def ours(self) -> Iterator[Batch]:
        """Hand out an epoch of batches by ours."""
        return iter(self.data.train_dataloader())

    def peer(self) -> Iterator[tuple[Tensor, list[tuple[int, int]], list[Tensor]]]:
        """Hand out the same by torchvision's: pixels, sizes, boxes."""
        for batch in self.order:
            images, targets = zip(*map(self._peer_image, batch), strict=True)
            padded, resized = self.transform(list(images), list(targets))
            yield padded.tensors, padded.image_sizes, [target["boxes"] for target in resized]

    def _peer_image(self, index: int) -> tuple[Tensor, dict[str, Tensor]]:
        image = Image.open(self.paths[index]).convert("RGB")
        boxes, labels = self.truth[index]
        size = (image.height, image.width)
        xyxy = BoundingBoxes(torch.from_numpy(boxes).float(), format="XYXY", canvas_size=size)
        return self.augment(image, {"boxes": xyxy, "labels": torch.from_numpy(labels)})

    def check(self) -> str:
        """Say how near the batches of both are, without flips.

        Raises:
            RuntimeError: if sizes or boxes differ by more than a pixel, or colours by more than
                its rounding of sizes explains: it gives 1066 pixels where ours gives 1067.
        """
        worst, medians = 0.0, []
        mean, std = (torch.tensor(part)[:, None, None] for part in (MEAN, STD))
        for mine, (pixels, sizes, boxes) in zip(self.ours(), self.peer(), strict=True):
            sides = (mine.images.sizes_hw - torch.tensor(sizes)).abs().max()
            if sides > 1 or mine.images.padded_size != tuple(pixels.shape[2:]):
                raise RuntimeError("ours and torchvision resize or pad to different sizes")
            for image, (height, width) in enumerate(sizes):
                theirs = boxes[image]
                found = mine.targets.boxes_xyxy[image, : len(theirs)]
                if len(theirs):
                    worst = max(worst, float((found - theirs).abs().max()))
                inside = (pixels[image, :, :height, :width] * std + mean) * 255
                off = (mine.images.pixels[image, :, :height, :width] - inside).abs()
                medians.append(float(off.median()))
        colours = median(medians)
        if worst > 1.01 or colours > 2:
            raise RuntimeError(f"boxes differ by {worst:.2f} px, colours by {colours:.2f}")
        return f"boxes torchvision's within {worst:.1f} px, colours typically within {colours:.1f}"


def draw_images(root: Path, count: int) -> None:
    """Draw a data set in COCO's layout: noise at every scale, as photographs have it.

    Its files have the sizes, the bytes and the sampling of colours (4:4:4) of COCO's.
    """
    images, annotations = [], []
    (root / "train2017").mkdir(parents=True)
    (root / "annotations").mkdir()
    for index in range(count):
        random = np.random.default_rng(index)
        height, width = [(480, 640), (427, 640), (640, 480), (480, 640)][index % 4]
        name = f"{index:012d}.jpg"
        Image.fromarray(_noise(random, height, width)).save(
            root / "train2017" / name, quality=92, subsampling=0
        )
        images.append({"id": index, "file_name": name, "height": height, "width": width})
        for _ in range(7):
            w, h = random.uniform(20, 200, 2)
            x, y = random.uniform(0, width - w), random.uniform(0, height - h)
            box = {"bbox": [x, y, w, h], "image_id": index, "category_id": 1}
            annotations.append(box)
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "a"}]}
    (root / "annotations" / "instances_train2017.json").write_text(json.dumps(content))


def _noise(random: np.random.Generator, height: int, width: int) -> NDArray[np.uint8]:
    picture = np.full((height, width, 3), 128, dtype=np.float32)
    for octave in range(8):
        size = (height >> octave, width >> octave)
        grey, colour = random.normal(size=(*size, 1)), random.normal(size=(*size, 3))
        layer = (grey + 0.4 * colour).astype(np.float32)
        grown = cv2.resize(layer, (width, height), interpolation=cv2.INTER_CUBIC)
        picture += 5 * 1.5**octave * grown
    return picture.clip(0, 255).astype(np.uint8)


@contextmanager
def _one_thread() -> Iterator[None]:
    threads, opencv = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        cv2.setNumThreads(opencv)


def run(rounds: int) -> Result:
    """Measure drawn images, and photographs where they are given."""
    figures: list[Figure] = []
    notes: list[str] = []
    with tempfile.TemporaryDirectory() as folder, _one_thread():
        drawn = Path(folder, "coco")
        draw_images(drawn, IMAGES)
        _measure("drawn images", drawn, rounds, figures, notes)
        photographs = Path(os.environ.get("FCOS_SHARED", "nowhere"), "data", "coco256")
        if photographs.is_dir():
            _measure("photographs of COCO", photographs, rounds, figures, notes)
    notes.append(
        "Both on one thread and without loader processes; batches of 8, shorter side 800, longer "
        "at most 1333, flips, padded to multiples of 32. Ours stays uint8 and is normalised on "
        "the device; torchvision's is normalised float, four times the bytes."
    )
    return Result(figures, notes)


def _measure(what: str, root: Path, rounds: int, figures: list[Figure], notes: list[str]) -> None:
    equal = Case(root, flips=0.0).check()
    case = Case(root)
    took = alternate(lambda: _spend(case.ours()), lambda: _spend(case.peer()), rounds)
    ours, theirs = ([case.count / one for one in both] for both in took)
    figures.append(Figure(what, PEER, "images/s", ours, theirs, 4, higher_is_better=True))
    for path in case.paths:
        if not np.array_equal(read_image(path), _by_pillow(path)):
            raise RuntimeError("read_image and Pillow decode to different pixels")
    bare = alternate(
        lambda: _spend(map(read_image, case.paths)),
        lambda: _spend(map(_by_pillow, case.paths)),
        rounds,
    )
    decoding, pillow = (len(case.paths) / median(both) for both in bare)
    kilobytes = sum(path.stat().st_size for path in case.paths) / len(case.paths) / 1000
    notes.append(
        f"{what}: {len(case.paths)} files of {kilobytes:.0f} kB; decoding alone is "
        f"{decoding:.0f} images/s, by Pillow {pillow:.0f}, to the same pixels; {equal}."
    )


def _by_pillow(path: Path) -> NDArray[np.uint8]:
    return np.asarray(Image.open(path).convert("RGB"))


def _spend(results: Iterator[object]) -> None:
    for _ in results:
        pass
