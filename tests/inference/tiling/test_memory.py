"""A large image costs the memory of some rows, not of all."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.inference.tiling.large_files import write_tiled

from fcos_lightning.data.images import read_image
from fcos_lightning.inference.tiling import tiff_rows
from fcos_lightning.inference.tiling.looking import InTiles
from fcos_lightning.inference.tiling.tiff_rows import rows_of
from fcos_lightning.inference.tiling.windows import Tiles
from fcos_lightning.structures import Detections

SHORT, LONG = 1_000, 12_000


def nothing(images: Sequence[torch.Tensor]) -> list[Detections]:
    empty = Detections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64))
    return [empty for _ in images]


@pytest.mark.parametrize("deflate", [True, False])
def test_a_tiled_file_costs_a_few_rows_of_tiles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deflate: bool
) -> None:
    monkeypatch.setattr(tiff_rows, "LARGEST_PX", 100)
    file = write_tiled(tmp_path / "a.tif", LONG, SHORT, side=128, deflate=deflate)
    rows = rows_of(file)
    assert rows is not None and (rows.height, rows.width) == (LONG, SHORT)
    np.testing.assert_array_equal(rows.rows(5_000, 5_400), read_image(file)[5_000:5_400])
    seen: list[tuple[int, ...]] = []

    def looked(images: Sequence[torch.Tensor]) -> list[Detections]:
        seen.extend(tuple(image.shape) for image in images)
        return nothing(images)

    looking = InTiles(looked, Tiles(256, 256, 0.2, False), (64, 640), nms_iou=0.6, batch_size=4)
    tracemalloc.start()
    looking(rows)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    tiles = len(looking.tiles.rows(LONG)) * len(looking.tiles.columns(SHORT))  # type: ignore[union-attr]
    assert len(seen) == tiles + 1
    # All of it is 36 MB; a row of tiles, what is kept of it and what is new are 0.8 MB each.
    assert peak < 6_000_000 < LONG * SHORT * 3 / 5


CODE = """
import resource, sys
from fcos_lightning import Predictor
predictor = Predictor.load(sys.argv[1], device="cpu", tiles="1024x1024", batch_size=4)
found = predictor(sys.argv[2])
print(len(found), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def peak_mb(checkpoint: Path, file: Path) -> float:
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(checkpoint), str(file)],
        capture_output=True,
        text=True,
        check=True,
    )
    found, peak = map(int, done.stdout.split())
    assert found > 0
    scale = 1e6 if sys.platform == "darwin" else 1e3  # bytes there, kilobytes elsewhere
    return peak / scale


@pytest.mark.slow
def test_400_million_pixels_cost_less_than_a_quarter_of_themselves(
    checkpoint: Path, tmp_path: Path
) -> None:
    small = peak_mb(checkpoint, write_tiled(tmp_path / "small.tif", 1100, 1100))
    large = peak_mb(checkpoint, write_tiled(tmp_path / "large.tif", 20_000, 20_000))
    print(f"{small:.0f} MB for 1,100 x 1,100 pixels, {large:.0f} MB for 20,000 x 20,000")
    assert large - small < 300  # the pixels are 1,200 MB
