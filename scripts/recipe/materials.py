"""What the pictures are made of: digits and photographs of packages, clip art of a folder."""

from __future__ import annotations

import gzip
import importlib.util
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from recipe.scenes import Cut

#: Photographs of scikit-image that are in the public domain or CC0, as its README.txt says.
PHOTOGRAPHS = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "hubble_deep_field.jpg")
TEXTURES = ("brick.png", "grass.png", "gravel.png")
#: Of the digits of scikit-learn, those that a class is made of.
DIGITS = (0, 1, 2, 3, 4, 7)
#: Folders of Debian's openclipart-png that a class is made of.
CLIP_ART: Mapping[str, tuple[str, ...]] = {
    "animal": ("animals",),
    "food": ("food",),
    "vehicle": ("transportation",),
    "person": ("people",),
}
_LARGEST_PX = 160  # clip art is kept at most so large


def package_folder(name: str, to_install: str) -> Path:
    """Return where a package lies, without importing it.

    Raises:
        SystemExit: saying what to install.
    """
    found = importlib.util.find_spec(name)
    if found is None or found.origin is None:
        raise SystemExit(f"error: the drawn sets need {to_install}: pip install {to_install}")
    return Path(found.origin).parent


@lru_cache
def photographs() -> list[NDArray[np.uint8]]:
    """Return the backgrounds, RGB."""
    folder = package_folder("skimage", "scikit-image") / "data"
    read = [cv2.imread(str(folder / name)) for name in (*PHOTOGRAPHS, *TEXTURES)]
    return [np.asarray(cv2.cvtColor(one, cv2.COLOR_BGR2RGB), dtype=np.uint8) for one in read]


def digits(split: str) -> Callable[[Generator], Cut]:
    """Return what gives hand-written digits in colours of their own; each split has its own.

    The data set is scikit-learn's: 1,797 digits of 8x8 in 17 shades, by 43 people.
    """
    file = package_folder("sklearn", "scikit-learn") / "datasets/data/digits.csv.gz"
    with gzip.open(file) as text:
        rows = np.loadtxt(text, delimiter=",")
    strokes = (rows[:, :-1].reshape(-1, 8, 8) / 16).astype(np.float32)
    # The file goes writer by writer: its last third was written by others.
    part = slice(0, 1200) if split == "train" else slice(1200, None)
    own, labels = strokes[part], rows[part, -1].astype(int)
    by_class = [own[labels == digit] for digit in DIGITS]

    def pick(chance: Generator) -> Cut:
        label = int(chance.integers(len(DIGITS)))
        small = by_class[label][chance.integers(len(by_class[label]))]
        large = cv2.resize(np.pad(small, 1), (80, 80), interpolation=cv2.INTER_CUBIC)
        alpha = ((large - 0.25) / 0.3).clip(0, 1).astype(np.float32)
        colour = chance.uniform(0, 255, 3)
        rgb = np.broadcast_to(colour, (*alpha.shape, 3)) + chance.normal(0, 10, (*alpha.shape, 1))
        return Cut(rgb.clip(0, 255).astype(np.float32), alpha, label)

    return pick


def clip_art(root: Path, split: str) -> Callable[[Generator], Cut]:
    """Return what gives clip art; each split has files of its own, a third of them for validation.

    Args:
        root: the folder with the folders of ``CLIP_ART``.
        split: ``train`` or ``val``.

    Raises:
        SystemExit: if a folder is missing.
    """
    by_class: list[list[Path]] = []
    for name, folders in CLIP_ART.items():
        files = sorted(file for one in folders for file in (root / one).rglob("*.png"))
        own = [file for place, file in enumerate(files) if (place % 3 == 2) == (split == "val")]
        if not own:
            raise SystemExit(
                f"error: {root} has no clip art for {name}; give the folder of Debian's "
                "openclipart-png, as --clip-art /usr/share/openclipart/png"
            )
        by_class.append(own)

    def pick(chance: Generator) -> Cut:
        while True:
            label = int(chance.integers(len(by_class)))
            cut = _read(by_class[label][chance.integers(len(by_class[label]))], label)
            if cut is not None:
                return cut

    return pick


@lru_cache(maxsize=500)
def _read(file: Path, label: int) -> Cut | None:
    """Return a picture with its alpha; None where it has none, or next to nothing."""
    image = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
    if image is None or image.ndim != 3 or image.shape[2] != 4:
        return None
    scale = _LARGEST_PX / max(image.shape[:2])
    if scale < 1:
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    alpha = image[..., 3].astype(np.float32) / 255
    if not 0.1 < (alpha > 0.5).mean() < 0.97 or min(alpha.shape) < 20:
        return None
    return Cut(image[..., 2::-1].astype(np.float32), alpha, label)
