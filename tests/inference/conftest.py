"""A checkpoint, and pictures to look at with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.inference.scenes import SIDES, write_checkpoint


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint") / "best.ckpt", **SIDES)


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Four pictures that are to be shrunk, grown, limited by their longer side, and neither."""
    folder = tmp_path_factory.mktemp("photos")
    files = []
    for seed, (height, width) in enumerate([(180, 140), (40, 50), (60, 400), (64, 90)]):
        small = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
        files.append(folder / f"{seed}.png")
        picture = Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)
        picture.save(files[-1])
    return files
