"""The number of images costs no memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.inference.engines.files import converted
from tests.inference.scenes import SIDES, write_checkpoint

CODE = """
import resource, sys
from fcos_lightning.cli.predict import main
main()
print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
WORDS = ("score_threshold=0", "draw=true", "save=[coco,yolo,csv]", "device=cpu")
FEW, MANY = 50, 5_000


def peak_mb(ckpt: Path, photos: list[Path], number: int, folder: Path) -> float:
    """The highest resident memory of a command that looks at links to a few photos."""
    source = folder / f"{number}"
    source.mkdir(parents=True)
    for place in range(number):
        os.link(photos[place % len(photos)], source / f"{place:05d}.jpg")
    words = (f"ckpt={ckpt}", f"source={source}", f"out={folder}/out_{number}", *WORDS)
    done = subprocess.run(
        [sys.executable, "-c", CODE, *words], capture_output=True, text=True, check=True, cwd=folder
    )
    told = done.stdout.split()
    assert told[0] == str(number) and int(told[2]) > number
    scale = 1e6 if sys.platform == "darwin" else 1e3  # bytes there, kilobytes elsewhere
    return int(told[-1]) / scale


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["torch", "onnx"])
def test_5000_images_cost_no_more_than_50(tmp_path: Path, engine: str) -> None:
    ckpt = write_checkpoint(tmp_path / "best.ckpt", **SIDES)
    if engine == "onnx":
        ckpt = converted(ckpt, tmp_path / "model.onnx")
    photos = []
    for seed, (height, width) in enumerate([(120, 160), (160, 120), (90, 200), (128, 128)]):
        small = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
        picture = Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)
        photos.append(tmp_path / f"{seed}.jpg")
        picture.save(photos[-1])
    few = peak_mb(ckpt, photos, FEW, tmp_path / "few")
    many = peak_mb(ckpt, photos, MANY, tmp_path / "many")
    print(f"{engine}: {few:.0f} MB for {FEW} images, {many:.0f} MB for {MANY}")
    assert many - few < 100
